// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = log(1 + e^(beta x)) / beta} without overflow, and {@code y = x} where {@code beta x >
 * threshold}.
 *
 * @param beta sharpness
 * @param threshold where the identity begins; infinity for nowhere
 */
public record Softplus(double beta, double threshold) implements Differentiable {
  @Override
  public String name() {
    return "softplus";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (!in.getFirst().dtype().isFloating()) {
      throw new DTypeException("the input must be floating; cast it first");
    }
    return List.of(in.getFirst());
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = value(x[i]);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor scaled = Num.affine(c.input(0), beta, 0);
    Tensor g = c.grad(0);
    Tensor dx = g.mul(NN.sigmoid(scaled));
    if (threshold < Double.POSITIVE_INFINITY) {
      dx = Num.where(Num.gt(scaled, threshold), g, dx);
    }
    return new @Nullable Tensor[] {dx};
  }

  private double value(double x) {
    double z = beta * x;
    return z > threshold ? x : (Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))) / beta;
  }
}
