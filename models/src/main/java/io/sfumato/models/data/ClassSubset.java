// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/** The images of some classes of another data set; labels and class names stay as they are. */
public final class ClassSubset extends PictureSubset implements ImageDataset {
  private final ImageDataset all;
  private final int[] indices;

  /**
   * A part of a data set.
   *
   * @param all the data set
   * @param classes which labels are kept
   * @throws IllegalArgumentException if no image is left
   */
  public ClassSubset(ImageDataset all, IntPredicate classes) {
    this(all, IntStream.range(0, all.size()).filter(i -> classes.test(all.label(i))).toArray());
    if (indices.length == 0) {
      throw new IllegalArgumentException(
          "no image of these classes is among the " + all.size() + " of the data set");
    }
  }

  /** The images with the given indices, which grow. */
  ClassSubset(ImageDataset all, int[] indices) {
    super(all, indices);
    this.all = all;
    this.indices = indices;
  }

  @Override
  public Pictures original() {
    return all.original() == all ? this : new PictureSubset(all.original(), indices);
  }

  @Override
  public int height() {
    return all.height();
  }

  @Override
  public int width() {
    return all.width();
  }

  @Override
  public void copyPixels(int index, byte[] target, int offset) {
    all.copyPixels(whole(index), target, offset);
  }
}
