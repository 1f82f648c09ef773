// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;

/** Shows the middle: the largest region with the proportions of the target. */
public record CentreCrop() implements Crop {
  @Override
  public Picture.Region place(Pictures.Size picture, Pictures.Size window, SplitMix64 random) {
    return new Picture.Region(
        (picture.height() - window.height()) / 2,
        (picture.width() - window.width()) / 2,
        window.height(),
        window.width());
  }
}
