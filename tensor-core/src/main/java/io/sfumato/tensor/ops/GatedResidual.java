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
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The gated residual sum of adaLN-Zero (Peebles and Xie 2023): {@code y = x + gate h}, one gate for
 * all tokens of a sample. Inputs: x [B, N, D], h [B, N, D], gate [B, D]. Output: [B, N, D].
 */
public record GatedResidual() implements Differentiable, BatchwiseOp {
  @Override
  public String name() {
    return "gated_residual";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec x = in.getFirst();
    check(x.shape(), in.get(1), in.get(2));
    return List.of(x);
  }

  static void check(Shape x, TensorSpec h, TensorSpec gate) {
    if (x.rank() != 3) {
      throw new ShapeException("input must have shape [B, N, D]");
    }
    Require.shape(h, x, "branch", "[B, N, D]");
    Require.shape(gate, x.without(1), "gate", "[B, D]");
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] h = in[1].data();
    double[] gate = in[2].data();
    double[] y = out[0].data();
    int tokens = in[0].dim(1);
    int n = in[0].dim(2);
    for (int i = 0; i < y.length; i++) {
      y[i] = x[i] + gate[i / n / tokens * n + i % n] * h[i];
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputsIf(new int[] {1, 2}, needs[2], needs[1]);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor g = c.grad(0);
    Tensor dx = c.needs(0) ? g : null;
    if (c.needs(1) && c.needs(2)) {
      Tensor[] both =
          Executor.current().execute(new GatedResidualBackward(), c.input(1), c.input(2), g);
      return new @Nullable Tensor[] {dx, both[0], both[1]};
    }
    return new @Nullable Tensor[] {
      dx,
      c.needs(1) ? g.mul(c.input(2).unsqueeze(1)) : null,
      c.needs(2) ? g.mul(c.input(1)).sum(1) : null
    };
  }
}
