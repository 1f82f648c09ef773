// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;

/** A framing that chooses a place only: of all that fits, or of what has a given size. */
public interface Crop extends Framing {
  /**
   * Where a window is.
   *
   * @param picture the size of the picture
   * @param window height and width of what is seen, at most the picture's
   * @param random the random numbers of this showing
   * @return a region of the window's size within the picture
   */
  Picture.Region place(Pictures.Size picture, Pictures.Size window, SplitMix64 random);

  /** The largest region with the proportions of the target. */
  @Override
  default Picture.Region region(Pictures.Size picture, Pictures.Size target, SplitMix64 random) {
    Picture.Region most =
        Picture.Region.largest(picture.height(), picture.width(), target.height(), target.width());
    return place(picture, new Pictures.Size(most.height(), most.width()), random);
  }
}
