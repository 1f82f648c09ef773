// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;

/**
 * The gradients of the factors of {@link LowRank}. Inputs: dy [..., out], x [..., in], A [r, in], B
 * [out, r]. Outputs: {@code dA = s (dy B)ᵀ x} and {@code dB = s dyᵀ (x Aᵀ)}.
 *
 * @param scale the factor s
 */
public record LowRankGradients(double scale) implements Composite {
  @Override
  public String name() {
    return "low_rank_gradients";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape dy = in.get(0).shape();
    Shape x = in.get(1).shape();
    if (x.rank() < 1 || dy.rank() < 1 || !x.with(-1, 1).equals(dy.with(-1, 1))) {
      throw new ShapeException("gradient and input must be equal but for the last axis");
    }
    LowRank.factors(in.get(2), in.get(3), x.dim(-1), dy.dim(-1));
    return List.of(in.get(2), in.get(3));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] dy = in[0].data();
    double[] x = in[1].data();
    double[] a = in[2].data();
    double[] b = in[3].data();
    int n = in[0].dim(-1);
    int k = in[1].dim(-1);
    int r = in[2].dim(0);
    int rows = n == 0 ? 0 : dy.length / n;
    for (int i = 0; i < rows; i++) {
      for (int q = 0; q < r; q++) {
        double g = 0;
        for (int j = 0; j < n; j++) {
          g += dy[i * n + j] * b[j * r + q];
        }
        double h = 0;
        for (int p = 0; p < k; p++) {
          h += x[i * k + p] * a[q * k + p];
        }
        for (int p = 0; p < k; p++) {
          out[0].data()[q * k + p] += scale * g * x[i * k + p];
        }
        for (int j = 0; j < n; j++) {
          out[1].data()[j * r + q] += scale * h * dy[i * n + j];
        }
      }
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor dy = Linear.rows(in[0]);
    Tensor x = Linear.rows(in[1]);
    Tensor g = Num.matmul(dy, in[3], false, false);
    Tensor h = Num.matmul(x, in[2], false, true);
    return new Tensor[] {
      Num.matmul(g, x, true, false).mul(scale), Num.matmul(dy, h, true, false).mul(scale)
    };
  }
}
