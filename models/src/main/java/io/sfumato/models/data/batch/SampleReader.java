// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;
import io.sfumato.models.data.augment.Augmentation;
import io.sfumato.models.data.augment.Augmentations;
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
  private final @Nullable CaptionOptions captions;
  private final BrokenImages broken;
  private final Rng rng;
  private final Map<Integer, Sample.Failure> known = new ConcurrentHashMap<>();

  /**
   * A reader.
   *
   * @param pictures the pictures
   * @param augmentations how they are varied
   * @param captions how captions are varied; null to leave captions as they are
   * @param broken what to do about a picture that cannot be used
   * @param rng the source of everything random
   */
  public SampleReader(
      Pictures pictures,
      Augmentations augmentations,
      @Nullable CaptionOptions captions,
      BrokenImages broken,
      Rng rng) {
    this.pictures = pictures;
    this.augmentations = augmentations;
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
    Picture whole = pictures.picture(index);
    Pictures.Size own = new Pictures.Size(whole.height(), whole.width());
    long key = rng.step(position).key();
    Picture.Region seen =
        augmentations.framing().region(own, size, SplitMix64.of(key, FRAMING_STREAM));
    Picture picture = whole.view(seen, size.height(), size.width());
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
    return new Sample(picture, shown(index, key, own, size, seen, mirrored), failures);
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
    Picture.Region seen =
        augmentations.framing().region(own, size, SplitMix64.of(key, FRAMING_STREAM));
    HorizontalFlip flip = augmentations.onlyFlip();
    boolean mirrored = flip != null && flip.isMirrored(SplitMix64.of(key, FIRST_STEP_STREAM));
    return shown(index, key, own, size, seen, mirrored);
  }

  private Shown shown(
      int index,
      long key,
      Pictures.Size own,
      Pictures.Size size,
      Picture.Region seen,
      boolean mirrored) {
    int fromLeft = mirrored ? own.width() - seen.left() - seen.width() : seen.left();
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
