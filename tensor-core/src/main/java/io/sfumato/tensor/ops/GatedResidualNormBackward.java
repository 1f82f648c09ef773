// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;

/**
 * The backward of {@link GatedResidualNorm}. Inputs: dz, dh, h [B, N, D], mean, rstd [B, N], y [B,
 * N, D], gate, scale [B, D]. Outputs: dx, dy and, if asked for, dgate, dshift, dscale [B, D]. With
 * {@code x̂ = (h - mean) rstd} and {@code g = dz (1 + scale)}: {@code dx = rstd (g - mean(g) - x̂
 * mean(g x̂)) + dh}, {@code dy = gate dx}; {@code dgate = sum over tokens of dx y}, {@code dshift}
 * of {@code dz}, {@code dscale} of {@code dz x̂}.
 *
 * @param eps added to the biased variance
 * @param modulation whether gate, shift or scale want gradients
 */
public record GatedResidualNormBackward(double eps, boolean modulation)
    implements Composite, BatchwiseOp {
  @Override
  public String name() {
    return "gated_residual_norm_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec h = in.get(2);
    LayerNormModulate.check(h.shape());
    Require.gradient(in.get(0), h, "input");
    Require.gradient(in.get(1), h, "input");
    Shape statistics = h.shape().without(2);
    Require.shape(in.get(3), statistics, "mean", "[B, N]");
    Require.shape(in.get(4), statistics, "rstd", "[B, N]");
    Require.shape(in.get(5), h.shape(), "branch", "of the input");
    TensorSpec scale = h.with(h.shape().without(1));
    Require.shape(in.get(6), scale.shape(), "gate", "[B, D]");
    Require.shape(in.get(7), scale.shape(), "scale", "[B, D]");
    return modulation ? List.of(h, h, scale, scale, scale) : List.of(h, h);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] dx = out[0].data();
    int tokens = in[2].dim(1);
    int n = in[2].dim(2);
    Dense[] norm = {in[0], in[2], in[3], in[4], in[7]};
    new LayerNormModulateBackward(eps, modulation)
        .reference(norm, modulation ? new Dense[] {out[0], out[3], out[4]} : new Dense[] {out[0]});
    for (int i = 0; i < dx.length; i++) {
      int m = i / n / tokens * n + i % n;
      dx[i] += in[1].data()[i];
      out[1].data()[i] = dx[i] * in[6].data()[m];
      if (modulation) {
        out[2].data()[m] += dx[i] * in[5].data()[i];
      }
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor dz = in[0];
    Tensor h = in[2];
    NormCompose norm = NormCompose.centred(h, h.shape().with(2, 1), eps);
    Tensor dx = norm.backward(dz.mul(Shaping.unsqueeze(in[7], 1).add(1))).add(in[1]);
    Tensor dy = dx.mul(Shaping.unsqueeze(in[6], 1));
    return modulation
        ? new Tensor[] {
          dx, dy, overTokens(dx.mul(in[5])), overTokens(dz), overTokens(dz.mul(norm.normalised()))
        }
        : new Tensor[] {dx, dy};
  }

  private static Tensor overTokens(Tensor x) {
    return Shaping.squeeze(Num.sumTo(x, x.shape().with(1, 1)), 1);
  }
}
