// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;

/**
 * Shows the largest region with the proportions of the target, at a random place: what resizing the
 * shorter side and then cutting at random gives.
 */
public record RandomCrop() implements Crop {
  @Override
  public Picture.Region place(Pictures.Size picture, Pictures.Size window, SplitMix64 random) {
    int top = random.nextInt(picture.height() - window.height() + 1);
    int left = random.nextInt(picture.width() - window.width() + 1);
    return new Picture.Region(top, left, window.height(), window.width());
  }

  @Override
  public boolean isFreeOfSize() {
    return false;
  }
}
