// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.batch.BadPictures;
import io.sfumato.models.data.batch.BatchPlan;
import io.sfumato.models.data.batch.BucketPlan;
import io.sfumato.models.data.batch.Prefetcher;
import io.sfumato.models.data.batch.Sample;
import io.sfumato.models.data.batch.SampleOrder;
import io.sfumato.models.data.batch.SampleReader;
import io.sfumato.models.data.batch.Shown;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Shuffled batches of a data set, see {@link SampleOrder}, or {@link BucketPlan} with buckets.
 * {@link LoaderOptions} say how pictures are varied, how far ahead they are read, and what becomes
 * of those that cannot be used.
 *
 * <p>Of several processes that train together each has its share of every batch and reads that part
 * only. What a picture of the batch is, and how it is varied, does not depend on the shares; one
 * that cannot be used is met, and counted, by those that should have shown it.
 */
public final class BatchLoader implements Batches {
  private static final Logger LOG = System.getLogger(BatchLoader.class.getName());

  private final int channels;
  private final int height;
  private final int width;
  private final Pictures source;
  private final LoaderOptions options;
  private final BatchShare share;
  private final BatchPlan plan;
  private final SampleReader reader;
  private final BadPictures bad;
  private final @Nullable Prefetcher<Sample> prefetcher;
  private final Device device;
  private boolean closed;

  /**
   * A loader of pictures as they are, that reads nothing ahead.
   *
   * @param data the images
   * @param batch images per batch
   * @param unit heights and widths are padded with black to multiples of this
   * @param rng the source of the shuffling
   * @param device where batches go
   */
  public BatchLoader(ImageDataset data, int batch, int unit, Rng rng, Device device) {
    this(data, LoaderOptions.of(batch).unit(unit), rng, device);
  }

  /**
   * A loader.
   *
   * @param data the images; where buckets or crops ask for it, its {@link ImageDataset#original}
   * @param options batch size, variations, reading ahead
   * @param rng the source of shuffling and variations
   * @param device where batches go
   * @throws IllegalArgumentException if the data is empty, or does not go together with the options
   */
  public BatchLoader(ImageDataset data, LoaderOptions options, Rng rng, Device device) {
    this(data, options, BatchShare.WHOLE, rng, device);
  }

  /**
   * A loader of one share of each batch.
   *
   * @param data the images; where buckets or crops ask for it, its {@link ImageDataset#original}
   * @param options size of the whole batch, variations, reading ahead
   * @param share which part of each batch
   * @param rng the source of shuffling and variations, the same for all shares
   * @param device where batches go
   * @throws IllegalArgumentException if the data is empty, or does not go together with the
   *     options, or the batch cannot be shared out equally
   */
  public BatchLoader(
      ImageDataset data, LoaderOptions options, BatchShare share, Rng rng, Device device) {
    if (data.size() == 0) {
      throw new IllegalArgumentException("the data set is empty");
    }
    long bytes =
        (long) data.channels() * (data.height() + options.unit()) * (data.width() + options.unit());
    int size = share.size(options.batch());
    if (size > Integer.MAX_VALUE / bytes) {
      throw new IllegalArgumentException(
          "a batch of " + size + " pictures of about " + bytes + " bytes is too large");
    }
    this.channels = data.channels();
    this.height = data.height();
    this.width = data.width();
    this.options = options;
    this.share = share;
    this.device = device;
    this.source = source(data, options);
    this.plan = plan(rng);
    this.reader =
        new SampleReader(
            source,
            options.augmentations(),
            options.buckets(),
            options.captions(),
            options.broken(),
            rng.fork("variations"));
    this.bad = new BadPictures(source, options.mostBad());
    this.prefetcher =
        options.ahead() == 0
            ? null
            : new Prefetcher<>(this::parts, options.ahead(), options.workers());
  }

  /** The whole of each batch, read when it is asked for. */
  private BatchLoader(BatchLoader part) {
    this.channels = part.channels;
    this.height = part.height;
    this.width = part.width;
    this.source = part.source;
    this.options = part.options;
    this.share = BatchShare.WHOLE;
    this.plan = part.plan;
    this.reader = part.reader;
    this.bad = part.bad;
    this.prefetcher = null;
    this.device = part.device;
  }

  @Override
  public BatchLoader whole() {
    return share.count() == 1 ? this : new BatchLoader(this);
  }

  private static Pictures source(ImageDataset data, LoaderOptions options) {
    Pictures source = data.original();
    if (source == data) {
      if (options.buckets() != null) {
        throw new IllegalArgumentException(
            "buckets need pictures of different sizes, read when they are needed; these are all "
                + new Pictures.Size(data.height(), data.width()));
      }
      if (!options.augmentations().framing().isFreeOfSize()) {
        throw new IllegalArgumentException(
            options.augmentations().framing()
                + " leaves nothing to choose: all pictures have the size of the batch already");
      }
    }
    return source;
  }

  private BatchPlan plan(Rng rng) {
    if (options.buckets() == null) {
      Pictures.Size size = new Pictures.Size(height, width);
      return new SampleOrder(source.parts(), options.batch(), size, rng);
    }
    BucketPlan buckets =
        new BucketPlan(source, options.buckets(), options.batch(), options.broken(), rng);
    LOG.log(Level.INFO, "pictures of each bucket: {0}", buckets.describe());
    return buckets;
  }

  @Override
  public Device device() {
    return device;
  }

  /** {@return the height of a batch, padding included; with buckets, of a square one} */
  @Override
  public int height() {
    return padded(height);
  }

  /** {@return the width of a batch, padding included; with buckets, of a square one} */
  @Override
  public int width() {
    return padded(width);
  }

  private int padded(int side) {
    return (side + options.unit() - 1) / options.unit() * options.unit();
  }

  /** {@return the pictures that could not be used so far, in ascending order} */
  public List<Integer> badPictures() {
    return bad.indices();
  }

  @Override
  public Batch batch(long number) {
    List<Sample> samples = prefetcher == null ? make(number) : prefetcher.take(number);
    samples.forEach(sample -> bad.add(sample.failures()));
    Tensor images = images(samples.stream().map(Sample::picture).toList());
    List<Shown> shown = samples.stream().map(Sample::shown).toList();
    long[] labels = shown.stream().mapToLong(Shown::label).toArray();
    return new Batch(images, Tensor.of(labels, labels.length), shown);
  }

  /** Pictures of one size, padded and in [-1, 1]: [B, C, H, W]. */
  Tensor images(List<Picture> pictures) {
    int rows = padded(pictures.getFirst().height());
    int columns = padded(pictures.getFirst().width());
    byte[] pixels = new byte[pictures.size() * channels * rows * columns]; // black is 0
    for (int b = 0; b < pictures.size(); b++) {
      place(pictures.get(b), pixels, b, rows, columns);
    }
    Tensor images = Tensor.of(pixels, pictures.size(), channels, rows, columns); // U8
    return Num.affine(Num.cast(images.to(device), DType.F32), 2 / 255.0, -1);
  }

  Pictures source() {
    return source;
  }

  BatchPlan plan() {
    return plan;
  }

  /** The showings of this share of a batch. */
  List<BatchPlan.Slot> slots(long number) {
    return share.cut(plan.slots(number));
  }

  SampleReader reader() {
    return reader;
  }

  LoaderOptions options() {
    return options;
  }

  BadPictures bad() {
    return bad;
  }

  /**
   * {@return its pictures, those of all shares: their indices in the data set, and their files if
   * they have any}
   */
  @Override
  public String describe(long number) {
    return plan.slots(number).stream()
        .map(slot -> describe(slot.index()))
        .collect(Collectors.joining(", ", "batch " + number + " (pictures ", " of the data set)"));
  }

  private String describe(int index) {
    String name = source.name(index);
    return name.equals("picture " + index) ? Integer.toString(index) : index + " " + name;
  }

  private List<Callable<Sample>> parts(long number) {
    Pictures.Size size = plan.size(number);
    List<Callable<Sample>> parts = new ArrayList<>();
    for (BatchPlan.Slot slot : slots(number)) {
      parts.add(() -> reader.read(slot, size, plan::next));
    }
    return parts;
  }

  private List<Sample> make(long number) {
    Pictures.Size size = plan.size(number);
    return slots(number).stream().map(slot -> reader.read(slot, size, plan::next)).toList();
  }

  private void place(Picture picture, byte[] pixels, int b, int rows, int columns) {
    for (int c = 0; c < channels; c++) {
      for (int y = 0; y < picture.height(); y++) {
        System.arraycopy(
            picture.pixels(),
            (c * picture.height() + y) * picture.width(),
            pixels,
            ((b * channels + c) * rows + y) * columns,
            picture.width());
      }
    }
  }

  /** Ends reading ahead, and logs how many pictures had to be replaced; once. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    if (prefetcher != null) {
      prefetcher.close();
    }
    bad.summarise();
  }
}
