// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.Pictures;
import io.sfumato.tensor.Rng;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.StringJoiner;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Batches of pictures of one bucket. In each epoch the showings of a bucket are shuffled and cut
 * into batches; the last one, if incomplete, is filled with the first showings of that epoch's
 * order once more. Then the batches of all buckets are shuffled. So every batch is full, every
 * picture is seen in every epoch, and an epoch has {@code sum over buckets of ceil(showings /
 * batch)} batches.
 */
public final class BucketPlan implements BatchPlan {
  /** The showings of one bucket; {@code firstBatch} is its first batch in an unshuffled epoch. */
  private record Members(Pictures.Size size, int[] indices, Permutation order, int firstBatch) {}

  private static final Comparator<Pictures.Size> ORDER =
      Comparator.comparingInt(Pictures.Size::width).thenComparingInt(Pictures.Size::height);

  private final List<Members> buckets = new ArrayList<>();
  private final int[] bucketOf;
  private final int batch;
  private final int batches;
  private final Permutation order;

  /**
   * A plan; reads the size of every picture.
   *
   * @param pictures the pictures; repeats must be whole numbers
   * @param buckets chooses the sizes
   * @param batch pictures per batch
   * @param broken whether a picture whose size cannot be read, or suits no bucket, is an error, or
   *     left for whoever reads it (in the fullest bucket)
   * @param rng the source of the shuffling
   * @throws IllegalArgumentException if repeats are not whole numbers
   * @throws DatasetException if the size of a picture cannot be read, or suits no bucket
   */
  public BucketPlan(Pictures pictures, Bucketing buckets, int batch, BrokenImages broken, Rng rng) {
    this.batch = batch;
    Pictures.Size[] assigned = assign(pictures, buckets, broken);
    List<Pictures.Size> sizes = Stream.of(assigned).distinct().sorted(ORDER).toList();
    Map<Pictures.Size, Integer> positions = new HashMap<>();
    sizes.forEach(size -> positions.put(size, positions.size()));
    this.bucketOf = Stream.of(assigned).mapToInt(positions::get).toArray();
    int[][] showings = showings(pictures, sizes.size());
    int total = 0;
    for (int b = 0; b < showings.length; b++) {
      Permutation own = new Permutation(showings[b].length, rng.fork("bucket " + sizes.get(b)));
      this.buckets.add(new Members(sizes.get(b), showings[b], own, total));
      total = Math.addExact(total, (showings[b].length + batch - 1) / batch);
    }
    this.batches = total;
    this.order = new Permutation(total, rng);
  }

  /** The size that each picture is shown in. */
  private static Pictures.Size[] assign(Pictures pictures, Bucketing buckets, BrokenImages broken) {
    Pictures.@Nullable Size[] assigned =
        IntStream.range(0, pictures.size())
            .parallel()
            .mapToObj(i -> bucket(pictures, i, buckets, broken))
            .toArray(Pictures.Size[]::new);
    Map<Pictures.Size, Integer> counts = new HashMap<>();
    Pictures.Size fullest = null;
    int most = 0;
    for (Pictures.Size size : assigned) {
      if (size != null && counts.merge(size, 1, Integer::sum) > most) {
        most = counts.getOrDefault(size, 0);
        fullest = size;
      }
    }
    Pictures.Size instead =
        fullest == null ? bucket(pictures, 0, buckets, BrokenImages.FAIL) : fullest;
    return Stream.of(assigned)
        .map(size -> size == null ? Objects.requireNonNull(instead) : size)
        .toArray(Pictures.Size[]::new);
  }

  private static Pictures.@Nullable Size bucket(
      Pictures pictures, int index, Bucketing buckets, BrokenImages broken) {
    try {
      Pictures.Size own = pictures.sizeOf(index);
      Pictures.Size bucket = buckets.bucket(own);
      if (bucket == null) {
        throw DatasetException.of(
            Path.of(pictures.name(index)),
            "has "
                + own
                + " pixels, too few for a batch without enlarging it; leave it out, or take a"
                + " smaller step");
      }
      return bucket;
    } catch (DatasetException e) {
      if (broken == BrokenImages.FAIL) {
        throw e;
      }
      return null;
    }
  }

  private int[][] showings(Pictures pictures, int count) {
    List<IntStream.Builder> members = new ArrayList<>();
    for (int b = 0; b < count; b++) {
      members.add(IntStream.builder());
    }
    for (Pictures.Part part : pictures.parts()) {
      if (part.repeats() != Math.rint(part.repeats())) {
        throw new IllegalArgumentException(
            "with buckets, repeats must be whole numbers; got " + part.repeats());
      }
      for (int r = 0; r < part.repeats(); r++) {
        for (int i = part.first(); i < part.first() + part.count(); i++) {
          members.get(bucketOf[i]).add(i);
        }
      }
    }
    return members.stream().map(m -> m.build().toArray()).toArray(int[][]::new);
  }

  /** {@return how many batches an epoch has} */
  public int batchesPerEpoch() {
    return batches;
  }

  @Override
  public synchronized List<Slot> slots(long number) {
    long epoch = number / batches;
    int inEpoch = order.at(epoch, (int) (number % batches));
    Members members = membersOf(inEpoch);
    int first = (inEpoch - members.firstBatch) * batch;
    List<Slot> slots = new ArrayList<>(batch);
    for (int b = 0; b < batch; b++) {
      int entry = members.order.at(epoch, (first + b) % members.indices.length);
      slots.add(
          new Slot(members.indices[entry], Math.addExact(Math.multiplyExact(number, batch), b)));
    }
    return slots;
  }

  @Override
  public synchronized Pictures.Size size(long number) {
    return membersOf(order.at(number / batches, (int) (number % batches))).size;
  }

  @Override
  public Pictures.Size sizeOf(int index) {
    return buckets.get(bucketOf[index]).size;
  }

  private Members membersOf(int inEpoch) {
    int b = buckets.size() - 1;
    while (buckets.get(b).firstBatch > inEpoch) {
      b--;
    }
    return buckets.get(b);
  }

  @Override
  public int next(int index) {
    for (int i = index + 1; i < bucketOf.length; i++) {
      if (bucketOf[i] == bucketOf[index]) {
        return i;
      }
    }
    for (int i = 0; i < index; i++) {
      if (bucketOf[i] == bucketOf[index]) {
        return i;
      }
    }
    return index;
  }

  /** {@return how many showings each bucket has, in words} */
  public String describe() {
    StringJoiner text = new StringJoiner(", ");
    for (Members m : buckets) {
      text.add(m.size + ": " + m.indices.length);
    }
    return text.toString();
  }
}
