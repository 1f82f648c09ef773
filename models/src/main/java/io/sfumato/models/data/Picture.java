// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.Objects;

/**
 * One decoded picture. The array is used as it is, not copied; nobody may change it.
 *
 * @param pixels unsigned bytes (0 to 255, sRGB or grey), {@code [C, H, W]}
 * @param channels C: 1 (grey) or 3 (red, green, blue)
 * @param height H
 * @param width W
 */
@SuppressWarnings("ArrayRecordComponent") // as data sets hand them out
public record Picture(byte[] pixels, int channels, int height, int width) {
  /**
   * A rectangle of whole pixels.
   *
   * @param top the first row
   * @param left the first column
   * @param height rows
   * @param width columns
   */
  public record Region(int top, int left, int height, int width) {
    /** Checks that it is not empty and lies at positive places. */
    public Region {
      if (top < 0 || left < 0 || height < 1 || width < 1) {
        throw new IllegalArgumentException(
            "a region must have a place and size in the picture; got top "
                + top
                + ", left "
                + left
                + ", height "
                + height
                + ", width "
                + width);
      }
    }

    /**
     * {@return the largest centred region of a picture that has the proportions {@code targetHeight
     * : targetWidth}, its sides rounded to whole pixels}
     *
     * @param height of the picture
     * @param width of the picture
     * @param targetHeight of the proportions
     * @param targetWidth of the proportions
     */
    public static Region centre(int height, int width, int targetHeight, int targetWidth) {
      Region size = largest(height, width, targetHeight, targetWidth);
      return new Region(
          (height - size.height) / 2, (width - size.width) / 2, size.height, size.width);
    }

    /**
     * {@return the largest region with the proportions {@code targetHeight : targetWidth}, at the
     * top left}
     *
     * @param height of the picture
     * @param width of the picture
     * @param targetHeight of the proportions
     * @param targetWidth of the proportions
     */
    public static Region largest(int height, int width, int targetHeight, int targetWidth) {
      boolean wide = (long) width * targetHeight > (long) height * targetWidth;
      int h = wide ? height : (int) Math.round((double) width * targetHeight / targetWidth);
      int w = wide ? (int) Math.round((double) height * targetWidth / targetHeight) : width;
      return new Region(0, 0, Math.clamp(h, 1, height), Math.clamp(w, 1, width));
    }
  }

  /** Checks that the array has the length that the sizes ask for. */
  public Picture {
    if (channels != 1 && channels != 3) {
      throw new IllegalArgumentException("channels must be 1 or 3; got " + channels);
    }
    if (height < 1 || width < 1 || pixels.length != (long) channels * height * width) {
      throw new IllegalArgumentException(
          "expected [" + channels + ", " + height + ", " + width + "] bytes; got " + pixels.length);
    }
  }

  /**
   * Cuts a region out and resamples it (antialiased, linear; see {@link Datasets#resized}).
   *
   * @param region what is seen
   * @param newHeight height of the result
   * @param newWidth width of the result
   * @return a new picture, or this one if nothing changes
   * @throws IndexOutOfBoundsException if the region is not within the picture
   */
  public Picture view(Region region, int newHeight, int newWidth) {
    Objects.checkFromIndexSize(region.top, region.height, height);
    Objects.checkFromIndexSize(region.left, region.width, width);
    boolean whole = region.height == height && region.width == width;
    if (whole && newHeight == height && newWidth == width) {
      return this;
    }
    Resampler resampler = new Resampler(channels, region.width, region.height, newWidth, newHeight);
    float[] line = new float[channels * region.width];
    for (int y = region.top; y < region.top + region.height; y++) {
      for (int c = 0; c < channels; c++) {
        int row = (c * height + y) * width + region.left;
        for (int x = 0; x < region.width; x++) {
          line[x * channels + c] = pixels[row + x] & 0xFF;
        }
      }
      resampler.addRow(line);
    }
    return new Picture(resampler.result(), channels, newHeight, newWidth);
  }
}
