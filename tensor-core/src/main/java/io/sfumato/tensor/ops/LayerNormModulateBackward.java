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
 * The backward of {@link LayerNormModulate}. Inputs: dy [B, N, D], x, mean [B, N], rstd [B, N],
 * scale [B, D]. Outputs: dx and, if asked for, dshift and dscale [B, D]. With {@code x̂ = (x -
 * mean) rstd} and {@code g = dy (1 + scale)}: {@code dshift = sum over tokens of dy}, {@code
 * dscale} of {@code dy x̂}, {@code dx = rstd (g - mean(g) - x̂ mean(g x̂))}.
 *
 * @param eps added to the biased variance
 * @param modulation whether shift and scale want gradients
 */
public record LayerNormModulateBackward(double eps, boolean modulation)
    implements Composite, BatchwiseOp {
  @Override
  public String name() {
    return "layer_norm_modulate_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(1);
    LayerNormModulate.check(x.shape());
    Require.gradient(in.get(0), x, "input");
    Require.shape(in.get(2), x.shape().without(2), "mean", "[B, N]");
    Require.shape(in.get(3), x.shape().without(2), "rstd", "[B, N]");
    TensorSpec scale = x.with(x.shape().without(1));
    Require.shape(in.get(4), scale.shape(), "scale", "[B, D]");
    return modulation ? List.of(x, scale, scale) : List.of(x);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] dy = in[0].data();
    double[] x = in[1].data();
    double[] dx = out[0].data();
    int tokens = in[1].dim(1);
    int n = in[1].dim(2);
    for (int i = 0; i < x.length; i++) {
      int m = i / n / tokens * n + i % n;
      dx[i] = dy[i] * (1 + in[4].data()[m]);
      if (modulation) {
        out[1].data()[m] += dy[i];
        out[2].data()[m] += dy[i] * (x[i] - in[2].data()[i / n]) * in[3].data()[i / n];
      }
    }
    for (int row = 0; row < in[2].numel(); row++) {
      NormRules.backward(x, dx, row * n, n, in[2].data()[row], in[3].data()[row]);
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor dy = in[0];
    Tensor x = in[1];
    Shape shape = x.shape();
    NormCompose norm = NormCompose.centred(x, shape.with(2, 1), eps);
    Tensor dx = norm.backward(dy.mul(Shaping.unsqueeze(in[4], 1).add(1)));
    if (!modulation) {
      return new Tensor[] {dx};
    }
    Shape one = shape.with(1, 1);
    return new Tensor[] {
      dx,
      Shaping.squeeze(Num.sumTo(dy, one), 1),
      Shaping.squeeze(Num.sumTo(dy.mul(norm.normalised()), one), 1)
    };
  }
}
