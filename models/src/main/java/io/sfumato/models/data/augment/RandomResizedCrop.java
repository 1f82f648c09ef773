// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.SplitMix64;

/**
 * Shows a region of random area and proportions (Szegedy et al. 2015; torchvision's {@code
 * RandomResizedCrop}): the area is uniform in {@code [minScale, maxScale]} times the picture's, the
 * logarithm of the proportions is uniform between those of {@code minRatio} and {@code maxRatio}
 * times the target's width : height. After ten regions that do not fit, the largest centred one
 * with the nearest proportions allowed.
 *
 * @param minScale the least part of the area, above 0
 * @param maxScale the greatest part of the area, at most 1
 * @param minRatio the least width : height, times the target's
 * @param maxRatio the greatest width : height, times the target's
 */
public record RandomResizedCrop(double minScale, double maxScale, double minRatio, double maxRatio)
    implements Framing {
  private static final int TRIES = 10;

  /** Checks the values. */
  public RandomResizedCrop {
    if (!(minScale > 0 && minScale <= maxScale && maxScale <= 1)) {
      throw new IllegalArgumentException(
          "scales must be 0 < min <= max <= 1; got " + minScale + " and " + maxScale);
    }
    if (!(minRatio > 0 && minRatio <= maxRatio && maxRatio <= 100)) {
      throw new IllegalArgumentException(
          "ratios must be 0 < min <= max <= 100; got " + minRatio + " and " + maxRatio);
    }
  }

  /**
   * With torchvision's proportions, 3:4 to 4:3.
   *
   * @param minScale the least part of the area, above 0
   * @param maxScale the greatest part of the area, at most 1
   */
  public RandomResizedCrop(double minScale, double maxScale) {
    this(minScale, maxScale, 3.0 / 4, 4.0 / 3);
  }

  @Override
  public Picture.Region region(Pictures.Size picture, Pictures.Size target, SplitMix64 random) {
    int height = picture.height();
    int width = picture.width();
    double shape = (double) target.width() / target.height();
    double low = Math.log(minRatio * shape);
    double high = Math.log(maxRatio * shape);
    for (int i = 0; i < TRIES; i++) {
      double area = (double) height * width * within(minScale, maxScale, random);
      double ratio = Math.exp(within(low, high, random));
      int w = (int) Math.rint(Math.sqrt(area * ratio));
      int h = (int) Math.rint(Math.sqrt(area / ratio));
      if (w > 0 && w <= width && h > 0 && h <= height) {
        int top = random.nextInt(height - h + 1);
        int left = random.nextInt(width - w + 1);
        return new Picture.Region(top, left, h, w);
      }
    }
    double own = (double) width / height;
    double ratio = Math.clamp(own, minRatio * shape, maxRatio * shape);
    int w = own > ratio ? (int) Math.rint(height * ratio) : width;
    int h = own < ratio ? (int) Math.rint(width / ratio) : height;
    w = Math.clamp(w, 1, width);
    h = Math.clamp(h, 1, height);
    return new Picture.Region((height - h) / 2, (width - w) / 2, h, w);
  }

  private static double within(double low, double high, SplitMix64 random) {
    return low + (high - low) * random.nextDouble();
  }
}
