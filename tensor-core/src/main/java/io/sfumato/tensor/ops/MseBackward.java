// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;

/**
 * Fused backward of {@link Mse}: {@code dx = 2 (x - target) g / divisor}. Inputs: x, target, g.
 *
 * @param reduction of the forward
 */
public record MseBackward(Reduction reduction) implements Composite {
  @Override
  public String name() {
    return "mse_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    Mse.check(x, in.get(1));
    Mse.check(x.with(reduction.shape(x.shape())), in.get(2));
    return List.of(x);
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] target = in[1].data();
    double[] g = in[2].data();
    double[] dx = out[0].data();
    double factor = x.length == 0 ? 0 : 2 / reduction.divisor(in[0].shape());
    for (int i = 0; i < dx.length; i++) {
      dx[i] = factor * (x[i] - target[i]) * g[reduction == Reduction.NONE ? i : 0];
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    double factor = 2 / reduction.divisor(in[0].shape());
    return new Tensor[] {in[0].sub(in[1]).mul(in[2].mul(factor))};
  }
}
