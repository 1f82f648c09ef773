// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.Objects;

/**
 * An indexed set of labelled images of one size. Pixels are unsigned bytes (0 to 255, sRGB or grey)
 * in {@code [C, H, W]} order, C = 1 (grey) or 3 (red, green, blue). Implementations are immutable
 * and safe to read from several threads.
 */
public interface ImageDataset extends Pictures {

  /** {@return the height in pixels} */
  int height();

  /** {@return the width in pixels} */
  int width();

  /**
   * Copies one image, {@link #bytesPerImage()} bytes in {@code [C, H, W]} order.
   *
   * @param index the image, from 0 to {@code size() - 1}
   * @param target where to
   * @param offset the first element of {@code target} to write
   * @throws IndexOutOfBoundsException if the index or the place in the target is out of range
   */
  void copyPixels(int index, byte[] target, int offset);

  /** {@return {@code channels() * height() * width()}} */
  default int bytesPerImage() {
    return channels() * height() * width();
  }

  /**
   * {@return the pictures before they were brought to one size; the set itself, if it has no
   * others}
   */
  default Pictures original() {
    return this;
  }

  @Override
  default Picture picture(int index) {
    return new Picture(pixels(index), channels(), height(), width());
  }

  @Override
  default Size sizeOf(int index) {
    return new Size(height(), width());
  }

  /**
   * {@return one image as a new array in {@code [C, H, W]} order}
   *
   * @param index the image, from 0 to {@code size() - 1}
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  default byte[] pixels(int index) {
    byte[] image = new byte[bytesPerImage()];
    copyPixels(index, image, 0);
    return image;
  }

  /**
   * {@return the images {@code begin} (inclusive) to {@code end} (exclusive) as one array in {@code
   * [N, C, H, W]} order}
   *
   * @param begin the first image
   * @param end one past the last image
   * @throws IndexOutOfBoundsException if the range is not within the set
   * @throws IllegalArgumentException if the images do not fit in one Java array
   */
  default byte[] pixels(int begin, int end) {
    Objects.checkFromToIndex(begin, end, size());
    byte[] images = new byte[DatasetSupport.arrayLength(end - begin, bytesPerImage())];
    for (int i = begin; i < end; i++) {
      copyPixels(i, images, (i - begin) * bytesPerImage());
    }
    return images;
  }

  /**
   * {@return the images with the given indices, in that order, as one array in {@code [N, C, H, W]}
   * order: a batch}
   *
   * @param indices the images
   * @throws IndexOutOfBoundsException if an index is out of range
   * @throws IllegalArgumentException if the images do not fit in one Java array
   */
  default byte[] batch(int... indices) {
    byte[] images = new byte[DatasetSupport.arrayLength(indices.length, bytesPerImage())];
    for (int i = 0; i < indices.length; i++) {
      copyPixels(indices[i], images, i * bytesPerImage());
    }
    return images;
  }
}
