// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

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
 * {@code -(t log x + (1 - t) log(1 - x))} for each element, with logarithms not below -100. Inputs:
 * x (probabilities), t, of one shape.
 */
public record BinaryCrossEntropy() implements Differentiable {
  private static final double LOWEST_LOG = -100;
  private static final double LEAST_VARIANCE = 1e-12;

  @Override
  public String name() {
    return "binary_cross_entropy";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Mse.check(in.get(0), in.get(1));
    return List.of(in.get(0));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] t = in[1].data();
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      double yes = Math.max(Math.log(x[i]), LOWEST_LOG);
      double no = Math.max(Math.log1p(-x[i]), LOWEST_LOG);
      y[i] = -(t[i] * yes + (1 - t[i]) * no);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return needs[0] ? Saved.inputs(0, 1) : Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor x = c.input(0);
    Tensor g = c.grad(0);
    Tensor dx = null;
    if (c.needs(0)) {
      Tensor variance = x.mul(Num.affine(x, -1, 1));
      Tensor bounded = Num.clamp(variance, LEAST_VARIANCE, Double.POSITIVE_INFINITY);
      dx = g.mul(x.sub(c.input(1))).div(bounded);
    }
    Tensor dt = c.needs(1) ? g.mul(Num.log1p(x.neg()).sub(Num.log(x))) : null;
    return new @Nullable Tensor[] {dx, dt};
  }
}
