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
 * The adjoint of a {@link Pad} that reflects or replicates: gradients of added elements go to those
 * they were copied from.
 *
 * @param forward the padding, not by a constant
 * @param input the shape of its input
 */
public record PadBackward(Pad forward, Shape input) implements Differentiable {
  @Override
  public String name() {
    return "pad_backward";
  }

  /** The map of one axis, from gradients of the result to those of the input. */
  public AxisWeights weights(int axis) {
    return AxisWeights.copy(forward.sources(input)[axis]).transpose(input.dim(axis));
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec g = in.getFirst();
    if (forward.mode() == Pad.Mode.CONSTANT) {
      throw new ShapeException("padding by a constant has a slice as its adjoint");
    }
    Shape padded = forward.infer(List.of(g.with(input))).getFirst().shape();
    if (!g.shape().equals(padded)) {
      throw new ShapeException("the gradient must have shape " + padded);
    }
    return List.of(g.with(input));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Shape shape = in[0].shape();
    double[] y = in[0].data();
    for (int axis = 0; axis < shape.rank(); axis++) {
      Dense g = new Dense(shape, in[0].dtype(), y);
      y = weights(axis).apply(y, g.outer(axis), shape.dim(axis), g.inner(axis));
      shape = shape.with(axis, input.dim(axis));
    }
    System.arraycopy(y, 0, out[0].data(), 0, y.length);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Shaping.pad(forward, c.grad(0))};
  }
}
