// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The backward of {@link LayerNorm}. Inputs: dy, x, mean, rstd, and w if it exists. Outputs: dx, dw
 * if asked for, db if asked for. With {@code x̂ = (x - mean) rstd}: {@code db = sum dy}, {@code dw
 * = sum dy x̂}, {@code dx = rstd (dy w - mean(dy w) - x̂ mean(dy w x̂))}.
 *
 * @param dims the number of normalised dimensions
 * @param eps added to the biased variance
 * @param weight whether there is a w
 * @param dw whether the weight wants a gradient
 * @param db whether the bias wants a gradient
 */
public record LayerNormBackward(int dims, double eps, boolean weight, boolean dw, boolean db)
    implements Composite, BatchwiseOp {
  @Override
  public String name() {
    return "layer_norm_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(1);
    LayerNorm.check(x.shape(), dims);
    Require.gradient(in.get(0), x, "input");
    Shape outer = LayerNorm.outer(x.shape(), dims);
    Require.shape(in.get(2), outer, "mean", "of the outer dimensions");
    Require.shape(in.get(3), outer, "rstd", "of the outer dimensions");
    TensorSpec parameters = x.with(LayerNorm.inner(x.shape(), dims));
    if (weight) {
      Require.shape(in.get(4), parameters.shape(), "weight", "of the normalised dimensions");
    }
    List<TensorSpec> out = new ArrayList<>();
    out.add(x);
    if (dw) {
      out.add(parameters);
    }
    if (db) {
      out.add(parameters);
    }
    return out;
  }

  @Override
  public boolean isBatchwise(Shape first) {
    return first.rank() > dims;
  }

  @Override
  public boolean isShared(int input) {
    return input >= 4;
  }

  @Override
  public boolean isSummed(int output) {
    return output > 0;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] dy = in[0].data();
    double[] x = in[1].data();
    double[] dx = out[0].data();
    int n = Math.toIntExact(LayerNorm.inner(in[1].shape(), dims).numel());
    for (int i = 0; i < x.length; i++) {
      double xhat = (x[i] - in[2].data()[i / n]) * in[3].data()[i / n];
      dx[i] = dy[i] * (weight ? in[4].data()[i % n] : 1);
      if (dw) {
        out[1].data()[i % n] += dy[i] * xhat;
      }
      if (db) {
        out[dw ? 2 : 1].data()[i % n] += dy[i];
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
    NormCompose norm = NormCompose.centred(x, rows(x.shape(), dims), eps);
    Shape parameters = LayerNorm.inner(x.shape(), dims);
    List<Tensor> out = new ArrayList<>();
    out.add(norm.backward(weight ? dy.mul(in[4]) : dy));
    if (dw) {
      out.add(Num.sumTo(dy.mul(norm.normalised()), parameters));
    }
    if (db) {
      out.add(Num.sumTo(dy, parameters));
    }
    return out.toArray(Tensor[]::new);
  }

  /** The shape of x with the last {@code dims} dimensions set to 1. */
  static Shape rows(Shape x, int dims) {
    int[] d = x.dims();
    Arrays.fill(d, d.length - dims, d.length, 1);
    return Shape.of(d);
  }
}
