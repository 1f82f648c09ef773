// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;

/** Chooses what is seen of a picture, before it is brought to size. */
@FunctionalInterface
public interface Framing {
  /**
   * What is seen of a picture.
   *
   * @param picture its size
   * @param target the size that the region is resampled to
   * @param random the random numbers of this showing
   * @return a region within the picture
   */
  Picture.Region region(Pictures.Size picture, Pictures.Size target, SplitMix64 random);

  /** {@return whether this makes a difference for pictures that have the target's size already} */
  default boolean isFreeOfSize() {
    return true;
  }
}
