// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
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
 * Squared error {@code (x - target)²}, reduced. Inputs: x, target, of one shape.
 *
 * @param reduction over all elements
 */
public record Mse(Reduction reduction) implements Differentiable {
  @Override
  public String name() {
    return "mse";
  }

  static void check(TensorSpec x, TensorSpec target) {
    if (!x.shape().equals(target.shape())) {
      throw new ShapeException("input and target must have one shape");
    }
    if (!x.dtype().isFloating() || x.dtype() != target.dtype()) {
      throw new DTypeException("input and target must have one floating type");
    }
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    check(x, in.get(1));
    return List.of(x.with(reduction.shape(x.shape())));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] target = in[1].data();
    double[] y = out[0].data();
    double divisor = reduction.divisor(in[0].shape());
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      double d = x[i] - target[i];
      if (reduction == Reduction.NONE) {
        y[i] = d * d;
      } else {
        sum += d * d;
      }
    }
    if (reduction != Reduction.NONE) {
      y[0] = sum / divisor;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0, 1);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor dx = NN.mseBackward(c.input(0), c.input(1), c.grad(0), reduction);
    return new @Nullable Tensor[] {c.needs(0) ? dx : null, c.needs(1) ? dx.neg() : null};
  }
}
