// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.SplitMix64;

/**
 * Turns a picture around its centre by an angle that is uniform in {@code [-degrees, degrees]},
 * bilinear; corners that nothing is known of become black (torchvision's {@code RandomRotation}
 * with {@code BILINEAR}).
 *
 * @param degrees the greatest angle
 */
public record RandomRotation(double degrees) implements Augmentation {
  /** Checks the angle. */
  public RandomRotation {
    if (!(degrees >= 0 && degrees <= 180)) {
      throw new IllegalArgumentException("degrees must be 0 to 180; got " + degrees);
    }
  }

  @Override
  public Picture apply(Picture picture, SplitMix64 random) {
    return rotated(picture, degrees * (2 * random.nextDouble() - 1));
  }

  /**
   * {@return a picture turned by an angle}
   *
   * @param picture stays as it is
   * @param angle in degrees, counter-clockwise
   */
  public static Picture rotated(Picture picture, double angle) {
    int height = picture.height();
    int width = picture.width();
    byte[] from = picture.pixels();
    byte[] to = new byte[from.length];
    double cos = Math.cos(Math.toRadians(angle));
    double sin = Math.sin(Math.toRadians(angle));
    int plane = height * width;
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        double dx = x - (width - 1) / 2.0;
        double dy = y - (height - 1) / 2.0;
        double u = cos * dx - sin * dy + (width - 1) / 2.0;
        double v = sin * dx + cos * dy + (height - 1) / 2.0;
        int left = (int) Math.floor(u);
        int top = (int) Math.floor(v);
        double right = u - left;
        double below = v - top;
        for (int c = 0; c < picture.channels(); c++) {
          double value =
              (1 - below) * (1 - right) * at(from, c, top, left, height, width)
                  + (1 - below) * right * at(from, c, top, left + 1, height, width)
                  + below * (1 - right) * at(from, c, top + 1, left, height, width)
                  + below * right * at(from, c, top + 1, left + 1, height, width);
          to[c * plane + y * width + x] = (byte) Math.round(value);
        }
      }
    }
    return new Picture(to, picture.channels(), height, width);
  }

  private static int at(byte[] pixels, int c, int y, int x, int height, int width) {
    return y < 0 || x < 0 || y >= height || x >= width
        ? 0
        : pixels[(c * height + y) * width + x] & 0xFF;
  }
}
