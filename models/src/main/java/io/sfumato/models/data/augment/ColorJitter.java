// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import io.sfumato.models.data.Picture;
import io.sfumato.models.data.SplitMix64;
import java.util.ArrayList;
import java.util.List;

/**
 * Changes brightness, contrast, saturation and hue at random, in a random order: torchvision's
 * {@code ColorJitter}, whose arithmetic on bytes this is (values are cut, not rounded, after each
 * of the four). The first three have a factor uniform in {@code [max(0, 1 - s), 1 + s]}:
 *
 * <pre>
 * brightness  f x
 * contrast    f x + (1 - f) mean(grey(x))
 * saturation  f x + (1 - f) grey(x)         grey = 0.2989 red + 0.587 green + 0.114 blue
 * hue         h + f (mod 1) in HSV, f uniform in [-s, s]
 * </pre>
 *
 * <p>Grey pictures have no saturation and hue that could change.
 *
 * @param brightness s of the brightness
 * @param contrast s of the contrast
 * @param saturation s of the saturation
 * @param hue s of the hue, at most 0.5
 */
public record ColorJitter(double brightness, double contrast, double saturation, double hue)
    implements Augmentation {
  private static final int OPERATIONS = 4;

  /** Checks the values together. */
  public ColorJitter {
    List<String> wrong = new ArrayList<>();
    check("brightness", brightness, 100, wrong);
    check("contrast", contrast, 100, wrong);
    check("saturation", saturation, 100, wrong);
    check("hue", hue, 0.5, wrong);
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("colour jitter: " + String.join("; ", wrong));
    }
  }

  private static void check(String name, double value, double most, List<String> wrong) {
    if (!(value >= 0 && value <= most)) {
      wrong.add(name + " must be 0 to " + most + "; got " + value);
    }
  }

  @Override
  public Picture apply(Picture picture, SplitMix64 random) {
    int[] order = {0, 1, 2, 3};
    for (int i = OPERATIONS - 1; i > 0; i--) {
      int j = random.nextInt(i + 1);
      int t = order[i];
      order[i] = order[j];
      order[j] = t;
    }
    double b = factor(brightness, random);
    double c = factor(contrast, random);
    double s = factor(saturation, random);
    double h = hue * (2 * random.nextDouble() - 1);
    Picture result = picture;
    for (int operation : order) {
      result =
          switch (operation) {
            case 0 -> brightness == 0 ? result : brightness(result, b);
            case 1 -> contrast == 0 ? result : contrast(result, c);
            case 2 -> saturation == 0 ? result : saturation(result, s);
            default -> hue == 0 ? result : hue(result, h);
          };
    }
    return result;
  }

  private static double factor(double strength, SplitMix64 random) {
    double low = Math.max(0, 1 - strength);
    return low + (1 + strength - low) * random.nextDouble();
  }

  /**
   * {@return a picture made darker or brighter}
   *
   * @param picture stays as it is
   * @param factor 0 for black, 1 for no change
   */
  public static Picture brightness(Picture picture, double factor) {
    float own = (float) factor;
    byte[] pixels = picture.pixels();
    byte[] result = new byte[pixels.length];
    for (int i = 0; i < pixels.length; i++) {
      result[i] = cut(own * (pixels[i] & 0xFF));
    }
    return like(picture, result);
  }

  /**
   * {@return a picture with another contrast}
   *
   * @param picture stays as it is
   * @param factor 0 for a grey plane, 1 for no change
   */
  public static Picture contrast(Picture picture, double factor) {
    int plane = picture.height() * picture.width();
    long sum = 0;
    for (int i = 0; i < plane; i++) {
      sum += grey(picture, plane, i);
    }
    float mean = (float) ((double) sum / plane);
    float own = (float) factor;
    float other = (float) (1 - factor) * mean;
    byte[] pixels = picture.pixels();
    byte[] result = new byte[pixels.length];
    for (int i = 0; i < pixels.length; i++) {
      result[i] = cut(own * (pixels[i] & 0xFF) + other);
    }
    return like(picture, result);
  }

  /**
   * {@return a picture with paler or stronger colours}
   *
   * @param picture stays as it is
   * @param factor 0 for grey, 1 for no change
   */
  public static Picture saturation(Picture picture, double factor) {
    if (picture.channels() == 1) {
      return picture;
    }
    int plane = picture.height() * picture.width();
    float own = (float) factor;
    float other = (float) (1 - factor);
    byte[] pixels = picture.pixels();
    byte[] result = new byte[pixels.length];
    for (int i = 0; i < plane; i++) {
      float grey = other * grey(picture, plane, i);
      for (int c = 0; c < pixels.length; c += plane) {
        result[c + i] = cut(own * (pixels[c + i] & 0xFF) + grey);
      }
    }
    return like(picture, result);
  }

  /**
   * {@return a picture with its hues turned}
   *
   * @param picture stays as it is
   * @param turn a part of the circle, -0.5 to 0.5
   */
  public static Picture hue(Picture picture, double turn) {
    if (picture.channels() == 1) {
      return picture;
    }
    int plane = picture.height() * picture.width();
    byte[] pixels = picture.pixels();
    byte[] result = new byte[pixels.length];
    float[] rgb = new float[3];
    for (int i = 0; i < plane; i++) {
      for (int c = 0; c < 3; c++) {
        rgb[c] = (pixels[c * plane + i] & 0xFF) / 255f;
      }
      turnHue(rgb, (float) turn);
      for (int c = 0; c < 3; c++) {
        result[c * plane + i] = (byte) (int) (rgb[c] * 255.999f);
      }
    }
    return like(picture, result);
  }

  /** Red, green, blue to hue, saturation, value, and back with another hue. */
  private static void turnHue(float[] rgb, float turn) {
    float r = rgb[0];
    float g = rgb[1];
    float b = rgb[2];
    float max = Math.max(r, Math.max(g, b));
    float min = Math.min(r, Math.min(g, b));
    if (max == min) {
      return; // grey has no hue
    }
    float range = max - min;
    float s = range / max;
    float rc = (max - r) / range;
    float gc = (max - g) / range;
    float bc = (max - b) / range;
    float sector = max == r ? bc - gc : max == g ? 2f + rc - bc : 4f + gc - rc;
    float h = (sector / 6f + 1f) % 1f + turn;
    h = h - (float) Math.floor(h);
    float at = h * 6f;
    int i = (int) Math.floor(at);
    float f = at - i;
    float p = unit(max * (1f - s));
    float q = unit(max * (1f - s * f));
    float t = unit(max * (1f - s * (1f - f)));
    switch (i % 6) {
      case 0 -> set(rgb, max, t, p);
      case 1 -> set(rgb, q, max, p);
      case 2 -> set(rgb, p, max, t);
      case 3 -> set(rgb, p, q, max);
      case 4 -> set(rgb, t, p, max);
      default -> set(rgb, max, p, q);
    }
  }

  private static void set(float[] rgb, float r, float g, float b) {
    rgb[0] = r;
    rgb[1] = g;
    rgb[2] = b;
  }

  private static float unit(float value) {
    return Math.clamp(value, 0f, 1f);
  }

  /** The grey of a pixel, as a whole number. */
  private static int grey(Picture picture, int plane, int i) {
    byte[] p = picture.pixels();
    if (picture.channels() == 1) {
      return p[i] & 0xFF;
    }
    return (int)
        (0.2989f * (p[i] & 0xFF)
            + 0.587f * (p[plane + i] & 0xFF)
            + 0.114f * (p[2 * plane + i] & 0xFF));
  }

  private static byte cut(float value) {
    return (byte) (int) Math.clamp(value, 0f, 255f);
  }

  private static Picture like(Picture picture, byte[] pixels) {
    return new Picture(pixels, picture.channels(), picture.height(), picture.width());
  }
}
