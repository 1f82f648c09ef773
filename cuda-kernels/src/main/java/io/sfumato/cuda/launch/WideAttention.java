// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.AttentionBackward;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Attention that the fused kernels do not take, as products and sums of its rows: heads of more
 * than 256 columns, as the one head of an autoencoder's middle block has, and f64. It is computed
 * in f32 (or f64), some queries at a time, so that their scores take as many bytes as the system
 * property {@value #BYTES} says, 128 MB by default; it is one query at least.
 */
final class WideAttention {
  /** The system property with the bytes of scores that are computed together. */
  static final String BYTES = "sfumato.cuda.attention.bytes";

  private static final long BYTES_BY_DEFAULT = 128 << 20;

  private WideAttention() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(Attention.class, new Forward()).add(AttentionBackward.class, new Backward());
  }

  private static @Nullable String refusal(Tensor[] in) {
    if (Arrays.stream(in).anyMatch(t -> t.numel() == 0)) {
      return "needs elements";
    }
    return in[0].dtype().isFloating() ? null : "needs a floating type";
  }

  /** The attention. */
  static final class Forward implements Kernel<Attention> {
    @Override
    public @Nullable String refuse(Attention op, Tensor[] in, Tensor[] out) {
      return refusal(in);
    }

    @Override
    public void launch(Attention op, Tensor[] in, Tensor[] out) {
      composed(
          () -> {
            Heads heads = Heads.of(op, in);
            for (int from = 0; from < heads.queries(); from += heads.together()) {
              int first = from;
              Scope.run(() -> forward(heads, first, out));
            }
          });
    }

    private static void forward(Heads heads, int first, Tensor[] out) {
      int end = heads.end(first);
      Tensor s = heads.scores(first, end);
      Tensor lse = Num.logsumexp(s, true, -1); // [B, H, Lq, 1]
      Tensor y = Num.matmul(heads.weights(s, lse), heads.v(), false, false);
      Updates.copy(out[0].slice(2, first, end), y);
      Updates.copy(out[1].slice(2, first, end), lse.squeeze(-1));
    }
  }

  /** The gradients. */
  static final class Backward implements Kernel<AttentionBackward> {
    @Override
    public @Nullable String refuse(AttentionBackward op, Tensor[] in, Tensor[] out) {
      return refusal(in);
    }

    @Override
    public void launch(AttentionBackward op, Tensor[] in, Tensor[] out) {
      composed(
          () -> {
            Heads heads = Heads.of(op.forward(), in);
            Tensor dk = Shaping.full(heads.k().spec(), 0);
            Tensor dv = Shaping.full(heads.v().spec(), 0);
            for (int from = 0; from < heads.queries(); from += heads.together()) {
              int first = from;
              Scope.run(() -> backward(heads, first, in, out[0], dk, dv));
            }
            Updates.copy(out[1], dk);
            Updates.copy(out[2], dv);
          });
    }

    private static void backward(
        Heads heads, int first, Tensor[] in, Tensor dq, Tensor dk, Tensor dv) {
      int end = heads.end(first);
      int n = in.length;
      Tensor y = heads.rows(in[n - 3], first, end);
      Tensor lse = heads.rows(in[n - 2], first, end).unsqueeze(-1);
      Tensor dy = heads.rows(in[n - 1], first, end);
      Tensor p = heads.weights(heads.scores(first, end), lse);
      Tensor delta = Num.sum(dy.mul(y), true, -1);
      Tensor dp = Num.matmul(dy, heads.v(), false, true);
      Tensor ds = p.mul(dp.sub(delta)).mul(heads.op().scale());
      Updates.copy(dq.slice(2, first, end), Num.matmul(ds, heads.k(), false, false));
      Updates.add(dk, Num.matmul(ds, heads.q(first, end), true, false), 1);
      Updates.add(dv, Num.matmul(p, dy, true, false), 1);
    }
  }

  /** Launches ops; no decorator sees them. */
  private static void composed(Runnable ops) {
    Executor.with(
        Eager.INSTANCE,
        () -> {
          Scope.run(ops);
          return true;
        });
  }

  /** The operands in the type that is computed in. */
  private record Heads(Attention op, Tensor[] in, DType dtype, Tensor k, Tensor v, int together) {
    static Heads of(Attention op, Tensor[] in) {
      DType dtype = in[0].dtype().accumulator();
      Shape q = in[0].shape();
      long row = (long) q.dim(0) * q.dim(1) * in[1].dim(2) * dtype.bytes();
      int together = Math.clamp(Long.getLong(BYTES, BYTES_BY_DEFAULT) / row, 1, q.dim(2));
      return new Heads(op, in, dtype, in[1].to(dtype), in[2].to(dtype), together);
    }

    int queries() {
      return in[0].dim(2);
    }

    int end(int first) {
      return Math.min(queries(), first + together);
    }

    Tensor q(int first, int end) {
      return rows(in[0], first, end);
    }

    /** Some queries of [B, H, Lq, ...]. */
    Tensor rows(Tensor t, int first, int end) {
      return t.slice(2, first, end).to(dtype);
    }

    /** {@code scale q kᵀ + mask}, negative infinity where a key is hidden. */
    Tensor scores(int first, int end) {
      Tensor s = Num.matmul(q(first, end), k, false, true).mul(op.scale());
      if (op.mask() != Attention.Mask.NONE) {
        Tensor mask = in[3];
        int axis = mask.rank() - 2;
        Tensor part = axis >= 0 && mask.dim(axis) > 1 ? mask.slice(axis, first, end) : mask;
        s = op.mask() == Attention.Mask.ADD ? s.add(part.to(dtype)) : hidden(s, part);
      }
      if (op.causal()) {
        TensorSpec whole = new TensorSpec(Shape.of(end - first), DType.I32, k.device());
        Tensor query = Shaping.arange(whole, first, 1).unsqueeze(-1);
        Tensor key = Shaping.arange(whole.with(Shape.of(k.dim(2))), 0, 1);
        s = hidden(s, Num.le(key, query));
      }
      return s;
    }

    private static Tensor hidden(Tensor s, Tensor keep) {
      Tensor never = Shaping.full(s.spec().with(Shape.SCALAR), Double.NEGATIVE_INFINITY);
      return Num.where(keep, s, never);
    }

    /** {@code exp(s - lse)}; 0 in rows that see no key. */
    Tensor weights(Tensor s, Tensor lse) {
      Tensor zero = Shaping.full(lse.spec().with(Shape.SCALAR), 0);
      return s.sub(Num.where(Num.eq(lse, Double.NEGATIVE_INFINITY), zero, lse)).exp();
    }
  }
}
