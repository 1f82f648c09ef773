// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A linear layer, {@code y = x Wᵀ + b}: inputs x [..., in], W [out, in] and, if there is one, b
 * [out]; output [..., out].
 *
 * @param bias whether there is a bias
 */
public record Linear(boolean bias) implements Differentiable {
  @Override
  public String name() {
    return "linear";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape x = in.get(0).shape();
    Shape w = in.get(1).shape();
    if (x.rank() < 1) {
      throw new ShapeException("input must have at least one dimension");
    }
    if (w.rank() != 2 || w.dim(1) != x.dim(-1)) {
      throw new ShapeException("weight must have shape [out, in] with in = " + x.dim(-1));
    }
    if (bias) {
      Require.shape(in.get(2), Shape.of(w.dim(0)), "bias", "[out]");
    }
    return List.of(in.getFirst().with(x.with(-1, w.dim(0))));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] w = in[1].data();
    double[] y = out[0].data();
    int k = in[1].dim(1);
    int n = in[1].dim(0);
    for (int i = 0; i < y.length; i++) {
      int row = i / n;
      int column = i % n;
      double sum = bias ? in[2].data()[column] : 0;
      for (int p = 0; p < k; p++) {
        sum += x[row * k + p] * w[column * k + p];
      }
      y[i] = sum;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputsIf(new int[] {0, 1}, needs[1], needs[0]);
  }

  /** {@code dx = dy W}, {@code dW = dyᵀ x} and {@code db} the sum of dy over all rows. */
  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[c.inputs()];
    Shape x = c.inputSpec(0).shape();
    Tensor g = rows(c.grad(0));
    if (c.needs(0)) {
      gradients[0] = Shaping.reshape(Num.matmul(g, c.input(1), false, false), x);
    }
    if (c.needs(1)) {
      gradients[1] = Num.matmul(g, rows(c.input(0)), true, false);
    }
    if (bias && c.needs(2)) {
      gradients[2] = Num.sumTo(g, c.inputSpec(2).shape());
    }
    return gradients;
  }

  /** A tensor [..., n] as a matrix of rows. */
  static Tensor rows(Tensor x) {
    long rows = 1;
    for (int i = 0; i < x.rank() - 1; i++) {
      rows *= x.dim(i);
    }
    return Shaping.reshape(x, Shape.of(Math.toIntExact(rows), x.dim(-1)));
  }
}
