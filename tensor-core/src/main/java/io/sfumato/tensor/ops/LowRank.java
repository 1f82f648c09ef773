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
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A linear layer with a low-rank change of its weight, {@code y = x (W + s B A)ᵀ + b}: inputs x
 * [..., in], W [out, in], A [r, in], B [out, r] and, if there is one, b [out]; output [..., out].
 * Kernels choose the order of the products from the shapes. The layer of LoRA (Hu et al. 2021).
 *
 * @param scale the factor s
 * @param bias whether there is a bias
 */
public record LowRank(double scale, boolean bias) implements Differentiable {
  @Override
  public String name() {
    return "low_rank";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    List<TensorSpec> layer = new ArrayList<>(in.subList(0, 2));
    layer.addAll(in.subList(4, in.size()));
    List<TensorSpec> out = new Linear(bias).infer(layer);
    Shape w = in.get(1).shape();
    factors(in.get(2), in.get(3), w.dim(1), w.dim(0));
    return out;
  }

  /** The rule for A [r, in] and B [out, r]. */
  static void factors(TensorSpec a, TensorSpec b, int in, int out) {
    if (a.shape().rank() != 2 || a.shape().dim(1) != in) {
      throw new ShapeException("A must have shape [r, in] with in = " + in);
    }
    Require.shape(b, Shape.of(out, a.shape().dim(0)), "B", "[out, r]");
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] w = in[1].data().clone();
    double[] a = in[2].data();
    double[] b = in[3].data();
    int k = in[1].dim(1);
    int r = in[2].dim(0);
    for (int i = 0; i < w.length; i++) {
      double change = 0;
      for (int q = 0; q < r; q++) {
        change += b[i / k * r + q] * a[q * k + i % k];
      }
      w[i] += scale * change;
    }
    Dense whole = new Dense(in[1].shape(), in[1].dtype(), w);
    Dense[] operands = bias ? new Dense[] {in[0], whole, in[4]} : new Dense[] {in[0], whole};
    new Linear(bias).reference(operands, out);
  }

  @Override
  public Saved saved(boolean[] needs) {
    boolean factors = needs[2] || needs[3];
    return Saved.inputsIf(
        new int[] {0, 1, 2, 3},
        factors || needs[1],
        needs[0],
        needs[0] || factors,
        needs[0] || factors);
  }

  /**
   * {@code dx = dy (W + s B A)}, which is the same op on the transposes; dA and dB by {@link
   * LowRankGradients}; {@code dW = dyᵀ x} and {@code db} the sum of dy over all rows.
   */
  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[c.inputs()];
    Tensor dy = c.grad(0);
    if (c.needs(0)) {
      Tensor w = transposed(c.input(1));
      Tensor a = transposed(c.input(3));
      Tensor b = transposed(c.input(2));
      gradients[0] = Executor.run(new LowRank(scale, false), dy, w, a, b);
    }
    if (c.needs(2) || c.needs(3)) {
      Tensor[] g =
          Executor.current()
              .execute(new LowRankGradients(scale), dy, c.input(0), c.input(2), c.input(3));
      gradients[2] = c.needs(2) ? g[0] : null;
      gradients[3] = c.needs(3) ? g[1] : null;
    }
    if (c.needs(1)) {
      gradients[1] = Num.matmul(Linear.rows(dy), Linear.rows(c.input(0)), true, false);
    }
    if (bias && c.needs(4)) {
      gradients[4] = Num.sumTo(Linear.rows(dy), c.inputSpec(4).shape());
    }
    return gradients;
  }

  private static Tensor transposed(Tensor matrix) {
    return Shaping.permute(matrix, 1, 0);
  }
}
