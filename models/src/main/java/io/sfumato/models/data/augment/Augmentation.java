// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.SplitMix64;

/** Changes the pixels of a picture, not its size. */
@FunctionalInterface
public interface Augmentation {
  /**
   * A changed picture.
   *
   * @param picture stays as it is
   * @param random the random numbers of this showing, of this augmentation alone
   * @return a new picture of the same size, or the same one if nothing changes
   */
  Picture apply(Picture picture, SplitMix64 random);
}
