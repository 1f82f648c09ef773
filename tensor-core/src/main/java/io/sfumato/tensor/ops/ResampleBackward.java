// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The adjoint of a {@link Resampling}: from the gradient of its output to that of its input.
 *
 * @param forward the map
 * @param size its spatial input sizes
 */
public record ResampleBackward(Resampling forward, List<Integer> size) implements Differentiable {
  @Override
  public String name() {
    return forward.name() + "_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec g = in.getFirst();
    Shape shape = g.shape();
    if (size.size() != forward.spatial() || shape.rank() != 2 + forward.spatial()) {
      throw new ShapeException("the gradient must have " + (2 + forward.spatial()) + " dimensions");
    }
    for (int k = 0; k < size.size(); k++) {
      int expected = forward.outputSize(k, size.get(k));
      if (shape.dim(2 + k) != expected) {
        throw new ShapeException("dimension " + (2 + k) + " of the gradient must be " + expected);
      }
      shape = shape.with(2 + k, size.get(k));
    }
    return List.of(g.with(shape));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Shape shape = in[0].shape();
    double[] y = in[0].data();
    for (int k = 0; k < size.size(); k++) {
      Dense g = new Dense(shape, in[0].dtype(), y);
      AxisWeights map = forward.weights(k, size.get(k)).transpose(size.get(k));
      y = map.apply(y, g.outer(2 + k), shape.dim(2 + k), g.inner(2 + k));
      shape = shape.with(2 + k, size.get(k));
    }
    System.arraycopy(y, 0, out[0].data(), 0, y.length);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Resampling.apply(forward, c.grad(0))};
  }
}
