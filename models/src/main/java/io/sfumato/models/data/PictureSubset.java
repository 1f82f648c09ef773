// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/** Some of the pictures of another set, in its order; labels and class names stay as they are. */
class PictureSubset implements Pictures {
  private final Pictures all;
  private final int[] indices;

  /** The pictures with the given indices, which grow. */
  PictureSubset(Pictures all, int[] indices) {
    this.all = all;
    this.indices = indices;
  }

  /** {@return where a picture is in the other set} */
  final int whole(int index) {
    return indices[index];
  }

  @Override
  public List<Part> parts() {
    List<Part> parts = new ArrayList<>();
    int from = 0;
    for (Part part : all.parts()) {
      int to = from;
      while (to < indices.length && indices[to] < part.first() + part.count()) {
        to++;
      }
      if (to > from) {
        parts.add(new Part(from, to - from, part.repeats()));
      }
      from = to;
    }
    return parts;
  }

  @Override
  public int size() {
    return indices.length;
  }

  @Override
  public int channels() {
    return all.channels();
  }

  @Override
  public Picture picture(int index) {
    return all.picture(indices[index]);
  }

  @Override
  public <T> T read(int index, Function<Picture, T> use) {
    return all.read(indices[index], use);
  }

  @Override
  public Size sizeOf(int index) {
    return all.sizeOf(indices[index]);
  }

  @Override
  public String name(int index) {
    return all.name(indices[index]);
  }

  @Override
  public String contentHash(int index) {
    return all.contentHash(indices[index]);
  }

  @Override
  public int label(int index) {
    return all.label(indices[index]);
  }

  @Override
  public List<String> classNames() {
    return all.classNames();
  }

  @Override
  public Optional<String> caption(int index) {
    return all.caption(indices[index]);
  }
}
