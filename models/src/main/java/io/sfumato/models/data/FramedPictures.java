// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.List;
import java.util.Optional;

/**
 * Pictures of any sizes, seen through a window of one size: the largest centred region with its
 * proportions, resampled. Nothing is kept in memory.
 */
public final class FramedPictures implements ImageDataset {
  private final Pictures source;
  private final Size size;

  private FramedPictures(Pictures source, Size size) {
    this.source = source;
    this.size = size;
  }

  /**
   * A view of pictures.
   *
   * @param source the pictures
   * @param height of every picture of the view
   * @param width of every picture of the view
   * @return the view
   */
  public static FramedPictures of(Pictures source, int height, int width) {
    DatasetSupport.checkSide("height", height);
    DatasetSupport.checkSide("width", width);
    return new FramedPictures(source, new Size(height, width));
  }

  @Override
  public Pictures original() {
    return source;
  }

  @Override
  public List<Part> parts() {
    return source.parts();
  }

  @Override
  public int size() {
    return source.size();
  }

  @Override
  public int channels() {
    return source.channels();
  }

  @Override
  public int height() {
    return size.height();
  }

  @Override
  public int width() {
    return size.width();
  }

  @Override
  public Picture picture(int index) {
    return source.read(
        index,
        whole ->
            whole.view(
                Picture.Region.centre(whole.height(), whole.width(), size.height(), size.width()),
                size.height(),
                size.width()));
  }

  @Override
  public void copyPixels(int index, byte[] target, int offset) {
    byte[] pixels = picture(index).pixels();
    System.arraycopy(pixels, 0, target, offset, pixels.length);
  }

  @Override
  public String name(int index) {
    return source.name(index);
  }

  @Override
  public int label(int index) {
    return source.label(index);
  }

  @Override
  public List<String> classNames() {
    return source.classNames();
  }

  @Override
  public Optional<String> caption(int index) {
    return source.caption(index);
  }
}
