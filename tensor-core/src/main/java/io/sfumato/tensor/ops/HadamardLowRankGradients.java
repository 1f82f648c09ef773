// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.ArrayList;
import java.util.List;

/**
 * The gradients of the factors of {@link HadamardLowRank}. Inputs: dy [..., out], x [..., in], A₁
 * [out, r], B₁ [r, in], A₂, B₂. Outputs: {@code dA₁ = s (dyᵀx ⊙ A₂B₂) B₁ᵀ}, {@code dB₁ = s A₁ᵀ
 * (dyᵀx ⊙ A₂B₂)}, and dA₂ and dB₂ with A₁B₁ in its place.
 *
 * @param scale the factor s
 */
public record HadamardLowRankGradients(double scale) implements Composite {
  @Override
  public String name() {
    return "hadamard_low_rank_gradients";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec y = new HadamardLowRank(scale).infer(in.subList(1, 6)).getFirst();
    Shape dy = in.get(0).shape();
    if (!dy.equals(y.shape())) {
      throw new ShapeException("the gradient must have the result's shape " + y.shape());
    }
    return in.subList(2, 6);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    int n = in[0].dim(-1);
    int k = in[1].dim(-1);
    double[] dy = in[0].data();
    double[] x = in[1].data();
    double[] g = new double[Math.multiplyExact(n, k)]; // of the matrix
    int rows = n == 0 ? 0 : dy.length / n;
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < n; j++) {
        for (int p = 0; p < k; p++) {
          g[j * k + p] += scale * dy[i * n + j] * x[i * k + p];
        }
      }
    }
    for (int f = 0; f < 2; f++) {
      Dense a = in[2 + 2 * f];
      Dense b = in[3 + 2 * f];
      double[] other = HadamardLowRank.product(in[4 - 2 * f], in[5 - 2 * f]);
      int r = a.dim(1);
      for (int i = 0; i < g.length; i++) {
        double d = g[i] * other[i];
        for (int q = 0; q < r; q++) {
          out[2 * f].data()[i / k * r + q] += d * b.data()[q * k + i % k];
          out[2 * f + 1].data()[q * k + i % k] += d * a.data()[i / k * r + q];
        }
      }
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor g = Num.matmul(Linear.rows(in[0]), Linear.rows(in[1]), true, false).mul(scale);
    List<Tensor> out = new ArrayList<>();
    for (int f = 0; f < 2; f++) {
      Tensor d = g.mul(in[4 - 2 * f].matmul(in[5 - 2 * f]));
      out.add(Num.matmul(d, in[3 + 2 * f], false, true));
      out.add(Num.matmul(in[2 + 2 * f], d, true, false));
    }
    return out.toArray(Tensor[]::new);
  }
}
