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
 * The backward of {@link RmsNorm}. Inputs: dy, x [..., D], rstd [...], and w [D] if it exists.
 * Outputs: dx and, if asked for, dw. With {@code x̂ = x rstd}: {@code dw = sum dy x̂}, {@code dx =
 * rstd (dy w - x̂ mean(dy w x̂))}.
 *
 * @param eps added to the mean square
 * @param weight whether there is a w
 * @param dw whether the weight wants a gradient
 */
public record RmsNormBackward(double eps, boolean weight, boolean dw)
    implements Composite, BatchwiseOp {
  @Override
  public String name() {
    return "rms_norm_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(1);
    LayerNorm.check(x.shape(), 1);
    Require.gradient(in.get(0), x, "input");
    Require.shape(in.get(2), x.shape().without(-1), "rstd", "of the outer dimensions");
    TensorSpec parameters = x.with(Shape.of(x.shape().dim(-1)));
    if (weight) {
      Require.shape(in.get(3), parameters.shape(), "weight", "[D]");
    }
    return dw ? List.of(x, parameters) : List.of(x);
  }

  @Override
  public boolean isBatchwise(Shape first) {
    return first.rank() > 1;
  }

  @Override
  public boolean isShared(int input) {
    return input >= 3;
  }

  @Override
  public boolean isSummed(int output) {
    return output > 0;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] dy = in[0].data();
    double[] x = in[1].data();
    double[] rstd = in[2].data();
    int n = in[1].dim(-1);
    double[] product = new double[rstd.length];
    for (int i = 0; i < x.length; i++) {
      double xhat = x[i] * rstd[i / n];
      double dxhat = dy[i] * (weight ? in[3].data()[i % n] : 1);
      product[i / n] += dxhat * xhat / n;
      out[0].data()[i] = dxhat;
      if (dw) {
        out[1].data()[i % n] += dy[i] * xhat;
      }
    }
    for (int i = 0; i < x.length; i++) {
      double xhat = x[i] * rstd[i / n];
      out[0].data()[i] = rstd[i / n] * (out[0].data()[i] - xhat * product[i / n]);
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor dy = in[0];
    Tensor x = in[1];
    NormCompose norm = NormCompose.uncentred(x, x.shape().with(-1, 1), eps);
    Tensor dx = norm.backward(weight ? dy.mul(in[3]) : dy);
    return dw
        ? new Tensor[] {dx, Num.sumTo(dy.mul(norm.normalised()), Shape.of(x.dim(-1)))}
        : new Tensor[] {dx};
  }
}
