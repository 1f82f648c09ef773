// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Adaptive layer normalisation (adaLN, Peebles and Xie 2023): {@code y = (x - mean) rstd (1 +
 * scale) + shift} with mean and {@code rstd = 1 / sqrt(variance + eps)} over the last dimension.
 * Inputs: x [B, N, D], shift [B, D], scale [B, D]. Outputs: y [B, N, D], and mean and rstd [B, N]
 * in the accumulator's type.
 *
 * @param eps added to the biased variance
 */
public record LayerNormModulate(double eps) implements Differentiable, BatchwiseOp {
  @Override
  public String name() {
    return "layer_norm_modulate";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec x = in.getFirst();
    check(x.shape());
    Shape modulation = Shape.of(x.shape().dim(0), x.shape().dim(2));
    Require.shape(in.get(1), modulation, "shift", "[B, D]");
    Require.shape(in.get(2), modulation, "scale", "[B, D]");
    TensorSpec statistics = x.with(x.shape().without(2)).with(x.dtype().accumulator());
    return List.of(x, statistics, statistics);
  }

  static void check(Shape x) {
    if (x.rank() != 3) {
      throw new ShapeException("input must have shape [B, N, D]");
    }
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int tokens = in[0].dim(1);
    int n = in[0].dim(2);
    for (int row = 0; row < out[1].numel(); row++) {
      double[] statistics = NormRules.statistics(x, row * n, n, eps);
      out[1].data()[row] = statistics[0];
      out[2].data()[row] = statistics[1];
    }
    for (int i = 0; i < y.length; i++) {
      int m = i / n / tokens * n + i % n;
      double xhat = (x[i] - out[1].data()[i / n]) * out[2].data()[i / n];
      y[i] = xhat * (1 + in[2].data()[m]) + in[1].data()[m];
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0, 2).andOutputs(1, 2);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    NormRules.noStatisticsGradient(c, name(), 3);
    return Norms.layerNormModulateBackward(eps, c, c.needs(1) || c.needs(2));
  }
}
