// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.ArrayList;
import java.util.List;

/**
 * The backward of {@link GroupNorm}. Inputs: dy, x, mean, rstd, and those of w and b that exist.
 * Outputs: dx, dw if asked for, db if asked for. With {@code dz = dy} (through SiLU if there is
 * one) and {@code x̂ = (x - mean) rstd}: {@code db = sum dz}, {@code dw = sum dz x̂}, {@code dx =
 * rstd (dz w - mean(dz w) - x̂ mean(dz w x̂))}.
 *
 * @param forward the op
 * @param dw whether the weight wants a gradient
 * @param db whether the bias wants a gradient
 */
public record GroupNormBackward(GroupNorm forward, boolean dw, boolean db)
    implements Composite, BatchwiseOp {
  @Override
  public String name() {
    return forward.name() + "_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(1);
    Require.gradient(in.get(0), x, "input");
    GroupNorm.check(x.shape(), forward.groups());
    Shape statistics = Shape.of(x.shape().dim(0), forward.groups());
    Require.shape(in.get(2), statistics, "mean", "[N, groups]");
    Require.shape(in.get(3), statistics, "rstd", "[N, groups]");
    GroupNorm.affine(in, 4, x.shape(), forward.weight(), forward.bias());
    List<TensorSpec> out = new ArrayList<>();
    out.add(x);
    TensorSpec channels = x.with(Shape.of(x.shape().dim(1)));
    if (dw) {
      out.add(channels);
    }
    if (db) {
      out.add(channels);
    }
    return out;
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return output == 0 ? GroupNorm.like(in.get(1)) : Layout.contiguous(spec.shape());
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
    int inner = in[1].inner(1);
    int channels = in[1].dim(1);
    int n = channels / forward.groups() * inner;
    for (int i = 0; i < x.length; i++) {
      int c = i / inner % channels;
      double w = forward.weight() ? in[4].data()[c] : 1;
      double xhat = (x[i] - in[2].data()[i / n]) * in[3].data()[i / n];
      double dz = dy[i];
      if (forward.silu()) {
        double z = xhat * w + (forward.bias() ? in[forward.weight() ? 5 : 4].data()[c] : 0);
        double s = NormRules.sigmoid(z);
        dz *= s * (1 + z * (1 - s));
      }
      dx[i] = dz * w;
      if (dw) {
        out[1].data()[c] += dz * xhat;
      }
      if (db) {
        out[dw ? 2 : 1].data()[c] += dz;
      }
    }
    for (int row = 0; row < in[2].numel(); row++) {
      NormRules.backward(x, dx, row * n, n, in[2].data()[row], in[3].data()[row]);
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Shape shape = in[1].shape();
    int channels = shape.dim(1);
    int perGroup = channels / forward.groups();
    int inner = Math.toIntExact(shape.numel() / Math.max(1, (long) shape.dim(0) * channels));
    Shape grouped = Shape.of(shape.dim(0), forward.groups(), perGroup, inner);
    Shape rows = Shape.of(shape.dim(0), forward.groups(), 1, 1);
    Shape affine = Shape.of(1, forward.groups(), perGroup, 1);
    Tensor x = Shaping.reshape(in[1], grouped);
    Tensor dz = Shaping.reshape(in[0], grouped);
    NormCompose norm = NormCompose.centred(x, rows, forward.eps());
    Tensor xhat = norm.normalised();
    Tensor dxhat = dz;
    if (forward.weight() || forward.silu()) {
      Tensor z = xhat;
      Tensor w = forward.weight() ? Shaping.reshape(in[4], affine) : null;
      if (forward.silu()) {
        z = w == null ? z : z.mul(w);
        z = forward.bias() ? z.add(Shaping.reshape(in[forward.weight() ? 5 : 4], affine)) : z;
        dz = dz.mul(NormCompose.siluSlope(z));
      }
      dxhat = w == null ? dz : dz.mul(w);
    }
    List<Tensor> out = new ArrayList<>();
    out.add(Shaping.reshape(norm.backward(dxhat), shape));
    Shape c = Shape.of(channels);
    if (dw) {
      out.add(Shaping.reshape(Num.sumTo(dz.mul(xhat), affine), c));
    }
    if (db) {
      out.add(Shaping.reshape(Num.sumTo(dz, affine), c));
    }
    return out.toArray(Tensor[]::new);
  }
}
