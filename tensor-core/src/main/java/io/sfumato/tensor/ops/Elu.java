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
 * {@code y = x} where x is positive, else {@code alpha (e^x - 1)} (Clevert et al. 2016).
 *
 * @param alpha the negative limit is {@code -alpha}
 */
public record Elu(double alpha) implements Differentiable {
  @Override
  public String name() {
    return "elu";
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
      y[i] = x[i] > 0 ? x[i] : alpha * Math.expm1(x[i]);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor x = c.input(0);
    Tensor below = Num.exp(Num.clamp(x, Double.NEGATIVE_INFINITY, 0)).mul(alpha);
    Tensor g = c.grad(0);
    return new @Nullable Tensor[] {Num.where(Num.gt(x, 0), g, g.mul(below))};
  }
}
