// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.data.augment.Crop;
import io.sfumato.models.data.batch.Bucketing;
import io.sfumato.models.data.batch.Buckets;
import io.sfumato.models.data.batch.CaptionOptions;
import io.sfumato.models.data.batch.NativeBuckets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * How a {@link BatchLoader} makes batches. Only {@code ahead} and {@code workers} leave the bits of
 * a batch as they are.
 *
 * @param batch pictures per batch
 * @param unit heights and widths are padded with black to multiples of this
 * @param augmentations how pictures are varied
 * @param buckets chooses the sizes of batches; null for the size of the data set
 * @param captions how captions are varied; null to leave them as they are
 * @param broken whether a picture that cannot be used ends the run, or is replaced by another
 * @param mostBad the part of the pictures that may be replaced
 * @param ahead how many batches are read ahead of the step; 0 for none
 * @param workers how many pictures are read at a time, if any are read ahead
 */
public record LoaderOptions(
    int batch,
    int unit,
    Augmentations augmentations,
    @Nullable Bucketing buckets,
    @Nullable CaptionOptions captions,
    BrokenImages broken,
    double mostBad,
    int ahead,
    int workers) {
  /** Checks the values together. */
  public LoaderOptions {
    List<String> wrong = new ArrayList<>();
    if (batch < 1 || unit < 1) {
      wrong.add("batch and unit must be positive; got " + batch + " and " + unit);
    }
    if (!(mostBad >= 0 && mostBad <= 1)) {
      wrong.add("the part of bad pictures must be 0 to 1; got " + mostBad);
    }
    if (ahead < 0 || ahead > 1000) {
      wrong.add("0 to 1000 batches can be read ahead; got " + ahead);
    }
    if (workers < 1 || workers > 1024) {
      wrong.add("1 to 1024 pictures can be read at a time; got " + workers);
    }
    if (buckets != null && unit > 0) {
      unsuited(buckets, unit)
          .ifPresent(
              got -> wrong.add("buckets must be multiples of " + unit + " pixels; got " + got));
    }
    if (buckets instanceof NativeBuckets && !(augmentations.framing() instanceof Crop)) {
      wrong.add(
          augmentations.framing() + " enlarges pictures, which these buckets do not: " + buckets);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException(String.join("; ", wrong));
    }
  }

  /** What does not go together with a unit. */
  private static Optional<String> unsuited(Bucketing buckets, int unit) {
    return switch (buckets) {
      case Buckets some ->
          some.sizes().stream()
              .filter(s -> s.height() % unit != 0 || s.width() % unit != 0)
              .findFirst()
              .map(Object::toString);
      case NativeBuckets natural ->
          natural.step() % unit == 0 ? Optional.empty() : Optional.of("steps of " + natural.step());
    };
  }

  /**
   * {@return batches of pictures as they are; a bad picture is an error, nothing is read ahead}
   *
   * @param batch pictures per batch
   */
  public static LoaderOptions of(int batch) {
    return new LoaderOptions(
        batch,
        1,
        Augmentations.NONE,
        null,
        null,
        BrokenImages.FAIL,
        0.1,
        0,
        Runtime.getRuntime().availableProcessors());
  }

  /**
   * {@return the same, padded to multiples of another number}
   *
   * @param newUnit heights and widths are multiples of this
   */
  public LoaderOptions unit(int newUnit) {
    return new LoaderOptions(
        batch, newUnit, augmentations, buckets, captions, broken, mostBad, ahead, workers);
  }

  /**
   * {@return the same with other variations}
   *
   * @param newAugmentations how pictures are varied
   */
  public LoaderOptions augmentations(Augmentations newAugmentations) {
    return new LoaderOptions(
        batch, unit, newAugmentations, buckets, captions, broken, mostBad, ahead, workers);
  }

  /**
   * {@return the same with buckets, or without}
   *
   * @param newBuckets chooses the sizes of batches
   */
  public LoaderOptions buckets(@Nullable Bucketing newBuckets) {
    return new LoaderOptions(
        batch, unit, augmentations, newBuckets, captions, broken, mostBad, ahead, workers);
  }

  /**
   * {@return the same with captions varied, or not}
   *
   * @param newCaptions how captions are varied
   */
  public LoaderOptions captions(@Nullable CaptionOptions newCaptions) {
    return new LoaderOptions(
        batch, unit, augmentations, buckets, newCaptions, broken, mostBad, ahead, workers);
  }

  /**
   * {@return the same with another answer to pictures that cannot be used}
   *
   * @param newBroken whether they end the run
   * @param newMostBad the part of the pictures that may be replaced
   */
  public LoaderOptions broken(BrokenImages newBroken, double newMostBad) {
    return new LoaderOptions(
        batch, unit, augmentations, buckets, captions, newBroken, newMostBad, ahead, workers);
  }

  /**
   * {@return the same, reading another number of batches ahead}
   *
   * @param batches how many; 0 for none
   */
  public LoaderOptions ahead(int batches) {
    return new LoaderOptions(
        batch, unit, augmentations, buckets, captions, broken, mostBad, batches, workers);
  }

  /**
   * {@return the same, reading another number of pictures at a time}
   *
   * @param pictures how many
   */
  public LoaderOptions workers(int pictures) {
    return new LoaderOptions(
        batch, unit, augmentations, buckets, captions, broken, mostBad, ahead, pictures);
  }
}
