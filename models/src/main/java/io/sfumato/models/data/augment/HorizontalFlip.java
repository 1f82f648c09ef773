// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.SplitMix64;

/**
 * Mirrors left and right, now and then. Not for data where a mirrored picture is of another class
 * or of none, as with letters and digits.
 *
 * @param probability how often
 */
public record HorizontalFlip(double probability) implements Augmentation {
  /** Checks the probability. */
  public HorizontalFlip {
    if (!(probability >= 0 && probability <= 1)) {
      throw new IllegalArgumentException(
          "the probability of a flip must be 0 to 1; got " + probability);
    }
  }

  /** Every second time. */
  public HorizontalFlip() {
    this(0.5);
  }

  /**
   * {@return whether a showing is mirrored}
   *
   * @param random the random numbers of the showing
   */
  public boolean isMirrored(SplitMix64 random) {
    return random.nextDouble() < probability;
  }

  @Override
  public Picture apply(Picture picture, SplitMix64 random) {
    return isMirrored(random) ? mirrored(picture) : picture;
  }

  /**
   * {@return the picture with left and right exchanged}
   *
   * @param picture stays as it is
   */
  public static Picture mirrored(Picture picture) {
    byte[] from = picture.pixels();
    byte[] to = new byte[from.length];
    int width = picture.width();
    for (int row = 0; row < from.length; row += width) {
      for (int x = 0; x < width; x++) {
        to[row + x] = from[row + width - 1 - x];
      }
    }
    return new Picture(to, picture.channels(), picture.height(), width);
  }
}
