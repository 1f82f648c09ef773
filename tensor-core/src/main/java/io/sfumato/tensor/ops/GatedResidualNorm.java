// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A gated residual and the adaptive layer normalisation after it (adaLN-Zero, Peebles and Xie
 * 2023): {@code h = x + gate y}, {@code z = (h - mean) rstd (1 + scale) + shift} with mean and
 * {@code rstd = 1 / sqrt(variance + eps)} of h over the last dimension. Inputs: x, y [B, N, D],
 * gate, shift, scale [B, D]. Outputs: z, h [B, N, D], and mean and rstd [B, N] in the accumulator's
 * type.
 *
 * @param eps added to the biased variance
 */
public record GatedResidualNorm(double eps) implements Differentiable, BatchwiseOp {
  /**
   * What the block goes on with.
   *
   * @param sum x + gate y
   * @param normalised the sum, normalised and modulated
   */
  public record Result(Tensor sum, Tensor normalised) {}

  @Override
  public String name() {
    return "gated_residual_norm";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec x = in.getFirst();
    LayerNormModulate.check(x.shape());
    Require.shape(in.get(1), x.shape(), "branch", "of the input");
    Shape modulation = x.shape().without(1);
    Require.shape(in.get(2), modulation, "gate", "[B, D]");
    Require.shape(in.get(3), modulation, "shift", "[B, D]");
    Require.shape(in.get(4), modulation, "scale", "[B, D]");
    TensorSpec statistics = x.with(x.shape().without(2)).with(x.dtype().accumulator());
    return List.of(x, x, statistics, statistics);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] h = out[1].data();
    int tokens = in[0].dim(1);
    int n = in[0].dim(2);
    for (int i = 0; i < h.length; i++) {
      h[i] = in[0].data()[i] + in[2].data()[i / n / tokens * n + i % n] * in[1].data()[i];
    }
    new LayerNormModulate(eps)
        .reference(new Dense[] {out[1], in[3], in[4]}, new Dense[] {out[0], out[2], out[3]});
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(1, 2, 4).andOutputs(1, 2, 3);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    NormRules.noStatisticsGradient(c, name(), 2, 4);
    boolean modulation = c.needs(2) || c.needs(3) || c.needs(4);
    Tensor[] out =
        Executor.current()
            .execute(
                new GatedResidualNormBackward(eps, modulation),
                c.grad(0),
                c.grad(1),
                c.output(1),
                c.output(2),
                c.output(3),
                c.input(1),
                c.input(2),
                c.input(4));
    @Nullable Tensor[] gradients = new @Nullable Tensor[5];
    for (int i = 0; i < 5; i++) {
      gradients[i] = c.needs(i) ? out[i] : null;
    }
    return gradients;
  }
}
