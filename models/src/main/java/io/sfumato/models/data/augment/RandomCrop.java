// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;

/**
 * Shows the largest region with the proportions of the target, at a random place: what resizing the
 * shorter side and then cutting at random gives.
 */
public record RandomCrop() implements Framing {
  @Override
  public Picture.Region region(Pictures.Size picture, Pictures.Size target, SplitMix64 random) {
    Picture.Region size =
        Picture.Region.largest(picture.height(), picture.width(), target.height(), target.width());
    int top = random.nextInt(picture.height() - size.height() + 1);
    int left = random.nextInt(picture.width() - size.width() + 1);
    return new Picture.Region(top, left, size.height(), size.width());
  }

  @Override
  public boolean isFreeOfSize() {
    return false;
  }
}
