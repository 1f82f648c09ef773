// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A product with an elementwise product of two matrices of low rank, {@code y = s x (A₁B₁ ⊙
 * A₂B₂)ᵀ}: inputs x [..., in], A₁ [out, r], B₁ [r, in], A₂ [out, r], B₂ [r, in]; output [..., out].
 * The matrix [out, in], whose rank is up to r², need never be in memory. The change of LoHa
 * (Hyeon-Woo et al. 2022).
 *
 * @param scale the factor s
 */
public record HadamardLowRank(double scale) implements Differentiable {
  @Override
  public String name() {
    return "hadamard_low_rank";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape x = in.get(0).shape();
    Shape a = in.get(1).shape();
    Shape b = in.get(2).shape();
    if (x.rank() < 1) {
      throw new ShapeException("the input must have at least one axis");
    }
    if (a.rank() != 2 || b.rank() != 2 || b.dim(0) != a.dim(1) || b.dim(1) != x.dim(-1)) {
      throw new ShapeException("A1 must have shape [out, r] and B1 [r, in] with in = " + x.dim(-1));
    }
    Require.shape(in.get(3), a, "A2", "[out, r], as A1");
    Require.shape(in.get(4), b, "B2", "[r, in], as B1");
    return List.of(in.get(0).with(x.with(-1, a.dim(0))));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    int k = in[0].dim(-1);
    int n = in[1].dim(0);
    double[] x = in[0].data();
    double[] change = product(in, 1);
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      double sum = 0;
      for (int p = 0; p < k; p++) {
        sum += x[i / n * k + p] * change[i % n * k + p];
      }
      y[i] = scale * sum;
    }
  }

  /** {@code A₁B₁ ⊙ A₂B₂} [out, in], of four factors from input {@code first} on. */
  static double[] product(Dense[] in, int first) {
    double[] one = product(in[first], in[first + 1]);
    double[] two = product(in[first + 2], in[first + 3]);
    for (int i = 0; i < one.length; i++) {
      one[i] *= two[i];
    }
    return one;
  }

  /** {@code AB} [out, in]. */
  static double[] product(Dense a, Dense b) {
    int r = a.dim(1);
    int k = b.dim(1);
    double[] c = new double[Math.multiplyExact(a.dim(0), k)];
    for (int i = 0; i < c.length; i++) {
      for (int q = 0; q < r; q++) {
        c[i] += a.data()[i / k * r + q] * b.data()[q * k + i % k];
      }
    }
    return c;
  }

  @Override
  public Saved saved(boolean[] needs) {
    boolean factors = needs[1] || needs[2] || needs[3] || needs[4];
    boolean any = needs[0] || factors;
    return Saved.inputsIf(new int[] {0, 1, 2, 3, 4}, factors, any, any, any, any);
  }

  /**
   * The gradient of x is the same op on the transposes; those of the factors come from {@link
   * HadamardLowRankGradients}.
   */
  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[5];
    Tensor dy = c.grad(0);
    if (c.needs(0)) {
      gradients[0] =
          Executor.run(
              this,
              dy,
              transposed(c.input(2)),
              transposed(c.input(1)),
              transposed(c.input(4)),
              transposed(c.input(3)));
    }
    if (c.needs(1) || c.needs(2) || c.needs(3) || c.needs(4)) {
      Tensor[] g =
          Executor.current()
              .execute(
                  new HadamardLowRankGradients(scale),
                  dy,
                  c.input(0),
                  c.input(1),
                  c.input(2),
                  c.input(3),
                  c.input(4));
      for (int i = 1; i < 5; i++) {
        gradients[i] = c.needs(i) ? g[i - 1] : null;
      }
    }
    return gradients;
  }

  private static Tensor transposed(Tensor matrix) {
    return Shaping.permute(matrix, 1, 0);
  }
}
