// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;
import io.sfumato.models.data.augment.Augmentation;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.data.augment.Crop;
import io.sfumato.models.data.augment.Framing;
import io.sfumato.models.data.augment.HorizontalFlip;
import io.sfumato.tensor.Rng;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Reads the picture of a slot, brings it to size and varies it. What is random depends on the
 * slot's position only. Safe for several threads.
 */
public final class SampleReader {
  private static final int FRAMING_STREAM = 0;
  private static final int CAPTION_STREAM = 1;
  private static final int FIRST_STEP_STREAM = 2;

  private final Pictures pictures;
  private final Augmentations augmentations;
  private final @Nullable Bucketing buckets;
  private final @Nullable CaptionOptions captions;
  private final BrokenImages broken;
  private final Rng rng;
  private final Map<Integer, Sample.Failure> known = new ConcurrentHashMap<>();

  /**
   * A reader.
   *
   * @param pictures the pictures
   * @param augmentations how they are varied
   * @param buckets chooses the sizes of batches; null if all are of one size
   * @param captions how captions are varied; null to leave captions as they are
   * @param broken what to do about a picture that cannot be used
   * @param rng the source of everything random
   */
  public SampleReader(
      Pictures pictures,
      Augmentations augmentations,
      @Nullable Bucketing buckets,
      @Nullable CaptionOptions captions,
      BrokenImages broken,
      Rng rng) {
    this.pictures = pictures;
    this.augmentations = augmentations;
    this.buckets = buckets;
    this.captions = captions;
    this.broken = broken;
    this.rng = rng;
  }

  /**
   * Reads one picture. Where that one cannot be used and pictures may be skipped, {@code next}
   * chooses another.
   *
   * @param slot which picture is shown
   * @param size what it is brought to
   * @param next the picture that takes the place of another
   * @return the sample
   * @throws DatasetException if the picture cannot be used, nor one in its place
   */
  public Sample read(BatchPlan.Slot slot, Pictures.Size size, IntUnaryOperator next) {
    List<Sample.Failure> failures = new ArrayList<>();
    int index = slot.index();
    while (true) {
      Sample.Failure failure = known.get(index);
      if (failure == null) {
        try {
          return read(index, slot.position(), size, failures);
        } catch (DatasetException e) {
          if (broken == BrokenImages.FAIL || Thread.currentThread().isInterrupted()) {
            throw e; // interrupted reading fails, too, and says nothing about the file
          }
          failure = new Sample.Failure(index, String.valueOf(e.getMessage()));
          known.put(index, failure);
        }
      }
      failures.add(failure);
      index = next.applyAsInt(index);
      if (index == slot.index()) {
        throw DatasetException.of(
            Path.of(pictures.name(index)),
            "none of the "
                + failures.size()
                + " pictures that could be in its place can be used, the first: "
                + failures.getFirst().problem());
      }
    }
  }

  private Sample read(int index, long position, Pictures.Size size, List<Sample.Failure> failures) {
    long key = rng.step(position).key();
    Seen seen = seen(index, size, SplitMix64.of(key, FRAMING_STREAM));
    Picture picture = seen.picture;
    boolean mirrored = false;
    for (int k = 0; k < augmentations.steps().size(); k++) {
      Augmentation step = augmentations.steps().get(k);
      SplitMix64 random = SplitMix64.of(key, FIRST_STEP_STREAM + k);
      if (step instanceof HorizontalFlip flip) {
        boolean now = flip.isMirrored(random);
        mirrored ^= now;
        picture = now ? HorizontalFlip.mirrored(picture) : picture;
      } else {
        picture = step.apply(picture, random);
      }
    }
    return new Sample(picture, shown(index, key, seen.own, size, seen.frame, mirrored), failures);
  }

  /**
   * What is seen of a picture: it is resized as a whole, then a region is cut out and brought to
   * the size of the batch.
   *
   * @param whole the size that it is resized to; its own if it is not
   * @param region what is cut out
   */
  private record Frame(Pictures.Size whole, Picture.Region region) {
    Picture of(Picture picture, Pictures.Size size) {
      return picture
          .view(
              new Picture.Region(0, 0, picture.height(), picture.width()),
              whole.height(),
              whole.width())
          .view(region, size.height(), size.width());
    }
  }

  /** A picture brought to size, the size it had, and what is seen of it. */
  private record Seen(Picture picture, Pictures.Size own, Frame frame) {}

  private Seen seen(int index, Pictures.Size size, SplitMix64 random) {
    return pictures.read(
        index,
        whole -> {
          Pictures.Size own = new Pictures.Size(whole.height(), whole.width());
          Frame frame = frame(index, own, size, random);
          return new Seen(frame.of(whole, size), own, frame);
        });
  }

  private Frame frame(int index, Pictures.Size own, Pictures.Size size, SplitMix64 random) {
    Framing framing = augmentations.framing();
    if (!(buckets instanceof NativeBuckets natural)) {
      return new Frame(own, framing.region(own, size, random));
    }
    Pictures.Size resized = natural.resized(own);
    if (resized == null || resized.height() < size.height() || resized.width() < size.width()) {
      throw DatasetException.of(
          Path.of(pictures.name(index)),
          "has " + own + " pixels, too few to show it in " + size + " without enlarging it");
    }
    return new Frame(resized, ((Crop) framing).place(resized, size, random));
  }

  /**
   * {@return one picture as it is shown where nothing is random: its middle}
   *
   * @param index the picture
   * @param size what it is brought to
   * @throws DatasetException if it cannot be used
   */
  public Picture middle(int index, Pictures.Size size) {
    return seen(index, size, SplitMix64.of(0, FRAMING_STREAM)).picture;
  }

  /**
   * {@return a text that differs for pictures of the same file and size that are framed
   * differently}
   *
   * @param index the picture
   */
  public String framing(int index) {
    return buckets instanceof NativeBuckets natural
        ? "resized to " + natural.resized(pictures.sizeOf(index)) + ", centre"
        : "centre";
  }

  /**
   * What would be known of the picture of a slot, without reading it. For augmentations that do
   * nothing but mirror.
   *
   * @param index the picture
   * @param position the slot's
   * @param size what it is brought to
   * @return what is known of it
   */
  public Shown shown(int index, long position, Pictures.Size size) {
    long key = rng.step(position).key();
    Pictures.Size own = pictures.sizeOf(index);
    Frame frame = frame(index, own, size, SplitMix64.of(key, FRAMING_STREAM));
    HorizontalFlip flip = augmentations.onlyFlip();
    boolean mirrored = flip != null && flip.isMirrored(SplitMix64.of(key, FIRST_STEP_STREAM));
    return shown(index, key, own, size, frame, mirrored);
  }

  private Shown shown(
      int index, long key, Pictures.Size own, Pictures.Size size, Frame frame, boolean mirrored) {
    Picture.Region seen = frame.region;
    int fromLeft = mirrored ? frame.whole.width() - seen.left() - seen.width() : seen.left();
    return new Shown(
        index,
        pictures.name(index),
        pictures.label(index),
        pictures
            .caption(index)
            .map(c -> captions == null ? c : captions.apply(c, SplitMix64.of(key, CAPTION_STREAM))),
        own,
        (int) Math.round((double) seen.top() * size.height() / seen.height()),
        (int) Math.round((double) fromLeft * size.width() / seen.width()),
        mirrored);
  }
}
