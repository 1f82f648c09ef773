// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.List;
import java.util.Objects;
import java.util.Optional;

/** A data set held as one byte array in {@code [N, C, H, W]} order: up to 2 GiB. */
public final class InMemoryImageDataset implements ImageDataset {
  private final byte[] pixels;
  private final int channels;
  private final int height;
  private final int width;
  private final int[] labels;
  private final List<String> classNames;
  private final List<String> captions;

  private InMemoryImageDataset(
      byte[] pixels,
      int channels,
      int height,
      int width,
      int[] labels,
      List<String> classNames,
      List<String> captions) {
    this.pixels = pixels;
    this.channels = channels;
    this.height = height;
    this.width = width;
    this.labels = labels;
    this.classNames = List.copyOf(classNames);
    this.captions = List.copyOf(captions);
  }

  /**
   * A data set over the given arrays, which are used as they are, not copied.
   *
   * @param pixels {@code [N, C, H, W]}, N = {@code labels.length}
   * @param channels C: 1 or 3
   * @param height H
   * @param width W
   * @param labels {@code [N]}, each an index into {@code classNames}
   * @param classNames the names of the classes
   * @return the new object
   * @throws IllegalArgumentException if sizes do not agree or a label has no class
   */
  public static InMemoryImageDataset of(
      byte[] pixels, int channels, int height, int width, int[] labels, List<String> classNames) {
    return of(pixels, channels, height, width, labels, classNames, List.of());
  }

  /**
   * A captioned data set over the given arrays, which are used as they are, not copied.
   *
   * @param pixels {@code [N, C, H, W]}, N = {@code labels.length}
   * @param channels C: 1 or 3
   * @param height H
   * @param width W
   * @param labels {@code [N]}, each an index into {@code classNames}
   * @param classNames the names of the classes
   * @param captions N captions, or none; an empty text means that image has none
   * @return the new object
   * @throws IllegalArgumentException if sizes do not agree or a label has no class
   */
  public static InMemoryImageDataset of(
      byte[] pixels,
      int channels,
      int height,
      int width,
      int[] labels,
      List<String> classNames,
      List<String> captions) {
    if (channels != 1 && channels != 3) {
      throw new IllegalArgumentException("channels must be 1 or 3; got " + channels);
    }
    DatasetSupport.checkSide("height", height);
    DatasetSupport.checkSide("width", width);
    int expected = DatasetSupport.arrayLength(labels.length, channels * height * width);
    if (pixels.length != expected) {
      throw new IllegalArgumentException(
          "pixels must hold "
              + expected
              + " bytes for "
              + labels.length
              + " labels of ["
              + channels
              + ", "
              + height
              + ", "
              + width
              + "]; got "
              + pixels.length);
    }
    if (!captions.isEmpty() && captions.size() != labels.length) {
      throw new IllegalArgumentException(
          "captions must be none or " + labels.length + "; got " + captions.size());
    }
    for (int i = 0; i < labels.length; i++) {
      if (labels[i] < 0 || labels[i] >= classNames.size()) {
        throw new IllegalArgumentException(
            "label " + i + " must be 0 to " + (classNames.size() - 1) + "; got " + labels[i]);
      }
    }
    return new InMemoryImageDataset(pixels, channels, height, width, labels, classNames, captions);
  }

  /**
   * Copies any data set into memory: images that are drawn or resampled on demand are then made
   * once only.
   *
   * @param source the images
   * @return the copy
   * @throws IllegalArgumentException if it does not fit in one Java array (2 GiB)
   */
  public static InMemoryImageDataset copyOf(ImageDataset source) {
    int[] labels = new int[source.size()];
    String[] captions = new String[source.size()];
    boolean captioned = false;
    for (int i = 0; i < labels.length; i++) {
      labels[i] = source.label(i);
      captions[i] = source.caption(i).orElse("");
      captioned |= !captions[i].isEmpty();
    }
    return of(
        source.pixels(0, source.size()),
        source.channels(),
        source.height(),
        source.width(),
        labels,
        source.classNames(),
        captioned ? List.of(captions) : List.of());
  }

  @Override
  public int size() {
    return labels.length;
  }

  @Override
  public int channels() {
    return channels;
  }

  @Override
  public int height() {
    return height;
  }

  @Override
  public int width() {
    return width;
  }

  @Override
  public void copyPixels(int index, byte[] target, int offset) {
    Objects.checkIndex(index, labels.length);
    System.arraycopy(pixels, index * bytesPerImage(), target, offset, bytesPerImage());
  }

  @Override
  public int label(int index) {
    return labels[Objects.checkIndex(index, labels.length)];
  }

  @Override
  public List<String> classNames() {
    return classNames;
  }

  @Override
  public Optional<String> caption(int index) {
    Objects.checkIndex(index, labels.length);
    return captions.isEmpty() || captions.get(index).isEmpty()
        ? Optional.empty()
        : Optional.of(captions.get(index));
  }
}
