// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Executor;
import org.jspecify.annotations.Nullable;

/** What {@link NN} and the backwards of attention share. */
final class Attentions {
  private Attentions() {}

  static Tensor attention(Tensor q, Tensor k, Tensor v, AttentionOptions options) {
    Double chosen = options.scale();
    double scale =
        chosen != null ? chosen : q.rank() > 0 && q.dim(-1) > 0 ? 1 / Math.sqrt(q.dim(-1)) : 1;
    Tensor mask = options.mask();
    if (mask == null) {
      return Executor.run(new Attention(scale, options.causal(), Attention.Mask.NONE), q, k, v);
    }
    Attention.Mask kind = mask.dtype() == DType.BOOL ? Attention.Mask.KEEP : Attention.Mask.ADD;
    Tensor fitting =
        kind == Attention.Mask.ADD && mask.dtype().isFloating() ? Num.cast(mask, q.dtype()) : mask;
    return Executor.run(new Attention(scale, options.causal(), kind), q, k, v, fitting);
  }

  static @Nullable Tensor[] backward(Attention op, Backward c) {
    int n = c.inputs();
    @Nullable Tensor[] gradients = new @Nullable Tensor[n];
    if (c.needs(0) || c.needs(1) || c.needs(2)) {
      Tensor[] in = new Tensor[n + 3];
      for (int i = 0; i < n; i++) {
        in[i] = c.input(i);
      }
      in[n] = c.output(0);
      in[n + 1] = c.output(1);
      in[n + 2] = c.grad(0);
      Tensor[] out = Executor.current().execute(new AttentionBackward(op), in);
      for (int i = 0; i < 3; i++) {
        gradients[i] = c.needs(i) ? out[i] : null;
      }
    }
    if (n == 4 && c.needs(3)) { // a learned bias: the scores' own gradient, in full
      Tensor p = weights(op, c.input(0), c.input(1), c.input(3));
      gradients[3] = Num.sumTo(scoreGradient(p, c.grad(0), c.input(2)), c.inputSpec(3).shape());
    }
    return gradients;
  }

  /** The matrix {@code P = softmax(scale q kᵀ + mask)}; zero where a key is hidden. */
  static Tensor weights(Attention op, Tensor q, Tensor k, @Nullable Tensor mask) {
    Tensor s = Num.matmul(q, k, false, true).mul(op.scale());
    Tensor keep = null;
    if (op.mask() == Attention.Mask.ADD && mask != null) {
      // scores of -infinity would make NaN of the differences below
      s =
          s.add(
              Num.maximum(mask, Tensor.full(mask.spec().with(Shape.SCALAR), hidden(mask.dtype()))));
    } else if (op.mask() == Attention.Mask.KEEP && mask != null) {
      keep = Num.cast(mask, q.dtype());
    }
    if (op.causal()) {
      Tensor seen = causal(q.dim(2), k.dim(2), q.dtype(), q.device());
      keep = keep == null ? seen : keep.mul(seen);
    }
    if (keep == null) {
      return NN.softmax(s, -1);
    }
    Tensor hidden = keep.neg().add(1).mul(hidden(q.dtype()));
    return NN.softmax(s.mul(keep).add(hidden), -1).mul(keep);
  }

  /** Hides a key: far below every score, yet finite, so that hidden rows give no NaN. */
  private static double hidden(DType dtype) {
    return dtype == DType.F16 ? -6e4 : -1e30;
  }

  /** {@code dS = P (dP - rowsum(dP P))} with {@code dP = do vᵀ}. */
  static Tensor scoreGradient(Tensor p, Tensor dy, Tensor v) {
    Tensor dp = Num.matmul(dy, v, false, true);
    return p.mul(dp.sub(Num.sumTo(dp.mul(p), p.shape().with(-1, 1))));
  }

  /** 1 where key j is not after query i. */
  private static Tensor causal(int queries, int keys, DType dtype, Device device) {
    double[] seen = new double[queries * keys];
    for (int i = 0; i < seen.length; i++) {
      seen[i] = i % keys <= i / keys ? 1 : 0;
    }
    return Tensor.of(seen, dtype, device, queries, keys);
  }
}
