// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.Arrays;
import java.util.List;

/**
 * A move that treats the axes independently: element {@code (i0, i1, …)} of the result is element
 * {@code (s0[i0], s1[i1], …)} of the input, or a constant where a table says {@link #OUTSIDE}.
 * Channels-last inputs give channels-last results.
 */
public sealed interface AxisCopy extends Differentiable permits Flip, Pad, Roll {
  /** In a table: no element of the input. */
  int OUTSIDE = -1;

  /**
   * One table per axis; its length is the size of the axis in the result.
   *
   * @throws io.sfumato.tensor.ShapeException if the op does not fit the shape
   */
  int[][] sources(Shape input);

  /** The value of elements outside. */
  default double outside() {
    return 0;
  }

  @Override
  default List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    int[][] sources = sources(x.shape());
    int[] dims = new int[sources.length];
    Arrays.setAll(dims, i -> sources[i].length);
    return List.of(x.with(Shape.of(dims)));
  }

  @Override
  default Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in);
  }

  @Override
  default void reference(Dense[] in, Dense[] out) {
    Shape shape = out[0].shape();
    double[] x = in[0].data();
    double[] y = out[0].data();
    int[][] sources = sources(in[0].shape());
    for (int i = 0; i < y.length; i++) {
      int rest = i;
      int from = 0;
      boolean inside = true;
      for (int axis = shape.rank() - 1, stride = 1; axis >= 0; axis--) {
        int source = sources[axis][rest % shape.dim(axis)];
        inside &= source != OUTSIDE;
        from += source * stride;
        rest /= shape.dim(axis);
        stride *= in[0].dim(axis);
      }
      y[i] = inside ? x[from] : outside();
    }
  }

  @Override
  default Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  /** The tables that move nothing. */
  static int[][] unmoved(Shape input) {
    int[][] sources = new int[input.rank()][];
    for (int axis = 0; axis < sources.length; axis++) {
      int[] table = new int[input.dim(axis)];
      Arrays.setAll(table, i -> i);
      sources[axis] = table;
    }
    return sources;
  }
}
