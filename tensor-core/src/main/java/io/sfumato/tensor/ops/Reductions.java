// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.StridedLoop;
import java.util.List;

/** What ops that reduce axes share. In attributes, no axes means all axes. */
final class Reductions {
  private Reductions() {}

  /** Sees element {@code i} of the input, which belongs to element {@code o} of the output. */
  @FunctionalInterface
  interface Visitor {
    void accept(int i, int o);
  }

  static int[] array(List<Integer> axes) {
    return axes.stream().mapToInt(Integer::intValue).toArray();
  }

  /** The shape after reducing. */
  static Shape shape(Shape x, List<Integer> axes, boolean keepDims) {
    return x.reduce(array(axes), keepDims);
  }

  /** The number of elements that become one. */
  static long count(Shape x, List<Integer> axes) {
    long n = 1;
    for (int axis : x.axes(array(axes))) {
      n *= x.dim(axis);
    }
    return n;
  }

  /** Visits the input in row-major order. */
  static void forEach(Dense x, List<Integer> axes, Visitor body) {
    int[] k = {0};
    StridedLoop.forEach(
        Layout.contiguous(shape(x.shape(), axes, true)).expand(x.shape()),
        p -> body.accept(k[0]++, (int) p));
  }

  /** A reduced tensor with its reduced axes back as axes of size 1. */
  static Tensor keep(Tensor y, Shape x, List<Integer> axes) {
    return Shaping.reshape(y, shape(x, axes, true));
  }
}
