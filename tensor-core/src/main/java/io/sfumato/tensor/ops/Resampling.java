// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A linear map of features [N, C, ...] that treats the spatial axes independently: each has a table
 * {@link AxisWeights}, and the result is their product. The backward is {@link ResampleBackward},
 * the transposed tables. Channels-last inputs give channels-last results.
 */
public sealed interface Resampling extends Differentiable
    permits UpsampleNearest, UpsampleBilinear, AvgPool2d, AdaptiveAvgPool2d {
  /** Runs a map. */
  static Tensor apply(Resampling map, Tensor x) {
    return Executor.run(map, x);
  }

  /** The number of spatial axes. */
  int spatial();

  /**
   * The output size of one spatial axis.
   *
   * @param axis its number, 0 to {@code spatial() - 1}
   * @param size its input size
   * @throws ShapeException if there is none
   */
  int outputSize(int axis, int size);

  /**
   * The map of one spatial axis.
   *
   * @param axis its number, 0 to {@code spatial() - 1}
   * @param size its input size
   */
  AxisWeights weights(int axis, int size);

  /** Whether every result is a copy of one element, so that any type will do. */
  default boolean copies() {
    return false;
  }

  @Override
  default List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    Shape shape = x.shape();
    if (shape.rank() != 2 + spatial()) {
      throw new ShapeException(
          "the input must have " + (2 + spatial()) + " dimensions, N, C and " + spatial());
    }
    if (!copies() && !x.dtype().isFloating()) {
      throw new DTypeException("the input must be floating");
    }
    for (int k = 0; k < spatial(); k++) {
      if (shape.dim(2 + k) == 0) {
        throw new ShapeException("spatial dimensions must not be empty");
      }
      shape = shape.with(2 + k, outputSize(k, shape.dim(2 + k)));
    }
    return List.of(x.with(shape));
  }

  @Override
  default Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in);
  }

  @Override
  default void reference(Dense[] in, Dense[] out) {
    Shape shape = in[0].shape();
    double[] y = in[0].data();
    for (int k = 0; k < spatial(); k++) {
      Dense x = new Dense(shape, in[0].dtype(), y);
      AxisWeights map = weights(k, shape.dim(2 + k));
      y = map.apply(y, x.outer(2 + k), shape.dim(2 + k), x.inner(2 + k));
      shape = shape.with(2 + k, map.outputs());
    }
    System.arraycopy(y, 0, out[0].data(), 0, y.length);
  }

  @Override
  default Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  default @Nullable Tensor[] backward(Backward c) {
    Shape input = c.inputSpec(0).shape();
    List<Integer> size = IntStream.range(2, input.rank()).mapToObj(input::dim).toList();
    return new @Nullable Tensor[] {Executor.run(new ResampleBackward(this, size), c.grad(0))};
  }
}
