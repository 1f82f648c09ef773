// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import java.util.List;

/** Output layouts that several ops share. */
final class Layouts {
  private Layouts() {}

  /** The axis order of the first input that has the full shape and is dense; else row-major. */
  static Layout elementwise(Shape shape, List<Layout> inputs) {
    for (Layout input : inputs) {
      if (input.shape().equals(shape) && input.isDense()) {
        return input.like(shape);
      }
    }
    return Layout.contiguous(shape);
  }

  /**
   * Channels-last if all inputs are (for rank 3, unless all are row-major as well, as tokens of
   * length 1 are); else row-major.
   */
  static Layout channelsLastKept(Shape shape, List<Layout> inputs) {
    boolean rowMajor = shape.rank() < 4;
    for (Layout input : inputs) {
      if (!input.isChannelsLast()) {
        return Layout.contiguous(shape);
      }
      rowMajor &= input.isContiguous();
    }
    return rowMajor || inputs.isEmpty() ? Layout.contiguous(shape) : Layout.channelsLast(shape);
  }
}
