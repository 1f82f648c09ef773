// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.ArrayList;
import java.util.List;

/**
 * The backward of {@link Attention}. Inputs: q, k, v, the mask if there is one, then the output o,
 * the logarithms, and do. Outputs: dq, dk, dv, in memory [B, L, H, D]. With {@code P = exp(S -
 * lse)}: {@code dv = Pᵀ do}, {@code dS = P (do vᵀ - rowsum(do o))}, {@code dq = scale dS k}, {@code
 * dk = scale dSᵀ q}.
 *
 * @param forward the op
 */
public record AttentionBackward(Attention forward) implements Composite {
  @Override
  public String name() {
    return "attention_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    List<TensorSpec> wanted = forward.infer(in);
    int n = in.size();
    Require.gradient(in.get(n - 3), wanted.get(0), "output");
    Require.gradient(in.get(n - 1), wanted.get(0), "output");
    Require.shape(in.get(n - 2), wanted.get(1).shape(), "logarithms", "[B, H, Lq]");
    return List.of(in.get(0), in.get(1), in.get(2));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layout.ordered(spec.shape(), 0, 2, 1, 3);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    int n = in.length;
    double[] s = forward.scores(in[0], in[1], n == 7 ? in[3] : null);
    double[] q = in[0].data();
    double[] k = in[1].data();
    double[] v = in[2].data();
    double[] y = in[n - 3].data();
    double[] lse = in[n - 2].data();
    double[] dy = in[n - 1].data();
    int queries = in[0].dim(2);
    int keys = in[1].dim(2);
    int width = in[0].dim(3);
    int values = in[2].dim(3);
    for (int row = 0; row < lse.length; row++) {
      double delta = 0;
      for (int d = 0; d < values; d++) {
        delta += dy[row * values + d] * y[row * values + d];
      }
      for (int j = 0; j < keys && lse[row] != Double.NEGATIVE_INFINITY; j++) {
        int key = row / queries * keys + j;
        double p = Math.exp(s[row * keys + j] - lse[row]);
        double dp = 0;
        for (int d = 0; d < values; d++) {
          dp += dy[row * values + d] * v[key * values + d];
          out[2].data()[key * values + d] += p * dy[row * values + d];
        }
        double ds = forward.scale() * p * (dp - delta);
        for (int d = 0; d < width; d++) {
          out[0].data()[row * width + d] += ds * k[key * width + d];
          out[1].data()[key * width + d] += ds * q[row * width + d];
        }
      }
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor q = in[0];
    Tensor k = in[1];
    Tensor v = in[2];
    Tensor dy = in[in.length - 1];
    Tensor p = Attentions.weights(forward, q, k, in.length == 7 ? in[3] : null);
    Tensor ds = Attentions.scoreGradient(p, dy, v).mul(forward.scale());
    List<Tensor> out = new ArrayList<>();
    out.add(Num.matmul(ds, k, false, false));
    out.add(Num.matmul(ds, q, true, false));
    out.add(Num.matmul(p, dy, true, false));
    return out.toArray(Tensor[]::new);
  }
}
