// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;

/** Shows the largest centred region with the proportions of the target. */
public record CentreCrop() implements Framing {
  @Override
  public Picture.Region region(Pictures.Size picture, Pictures.Size target, SplitMix64 random) {
    return Picture.Region.centre(
        picture.height(), picture.width(), target.height(), target.width());
  }
}
