// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.BinaryOp;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.ReduceLoops;
import io.sfumato.tensor.cpu.RowLoops;
import io.sfumato.tensor.cpu.Scratch;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.cpu.UnaryOp;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.CrossEntropyBackward;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.MseBackward;
import io.sfumato.tensor.ops.Reduction;
import org.jspecify.annotations.Nullable;

/** The fused losses in f32. */
public final class LossLaunch {
  private LossLaunch() {}

  private static Layout dense(Tensor x) {
    return x.layout().isDense() ? x.layout().like(x.shape()) : Layout.contiguous(x.shape());
  }

  private static double divisor(Reduction reduction, Tensor x) {
    return switch (reduction) {
      case NONE, SUM -> 1;
      case MEAN -> x.numel();
      case BATCH_MEAN -> x.dim(0);
    };
  }

  /** {@link Mse}: the differences of a chunk stay in cache for their squares. */
  public static final class MseForward implements Kernel<Mse> {
    /** The kernel. */
    public MseForward() {}

    @Override
    public @Nullable String refuse(Mse op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Mse op, Tensor[] in, Tensor[] out) {
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      ReduceLoops reduce = Simd.provider().loops().reduce();
      if (op.reduction() == Reduction.NONE) {
        Sweep sweep = Sweep.over(out[0].shape(), out[0]);
        try (Staging staging = new Staging()) {
          long x = staging.ordered(in[0], out[0].layout());
          long target = staging.ordered(in[1], out[0].layout());
          long y = out[0].address();
          sweep.forEach(
              (at, n) -> {
                long from = at[0] - y;
                loops.binary(BinaryOp.SUB, x + from, target + from, at[0], n);
                loops.unary(UnaryOp.SQUARE, at[0], at[0], n);
              });
        }
        return;
      }
      Layout layout = dense(in[0]);
      int chunks = Math.toIntExact((in[0].numel() + Sweep.CHUNK - 1) / Sweep.CHUNK);
      double[] sums = new double[chunks];
      try (Staging staging = new Staging()) {
        long x = staging.ordered(in[0], layout);
        long target = staging.ordered(in[1], layout);
        Parallel.forRange(
            chunks,
            1,
            (begin, end, worker) -> {
              long row = Scratch.get(Scratch.Slot.ROW, 4L * Sweep.CHUNK);
              for (int c = begin; c < end; c++) {
                long from = 4L * Sweep.CHUNK * c;
                int n = (int) Math.min(Sweep.CHUNK, in[0].numel() - (long) Sweep.CHUNK * c);
                loops.binary(BinaryOp.SUB, x + from, target + from, row, n);
                sums[c] = reduce.sumOfSquares(row, n);
              }
            });
      }
      double total = 0;
      for (double sum : sums) {
        total += sum;
      }
      Memory.putFloat(out[0].address(), (float) (total / divisor(op.reduction(), in[0])));
    }
  }

  /** {@link MseBackward}. */
  public static final class MseGradient implements Kernel<MseBackward> {
    /** The kernel. */
    public MseGradient() {}

    @Override
    public @Nullable String refuse(MseBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(MseBackward op, Tensor[] in, Tensor[] out) {
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      boolean each = op.reduction() == Reduction.NONE;
      double factor = 2 / divisor(op.reduction(), in[0]);
      float scale = (float) (each ? factor : factor * Memory.getFloat(in[2].address()));
      Sweep sweep = Sweep.over(out[0].shape(), out[0]);
      try (Staging staging = new Staging()) {
        long x = staging.ordered(in[0], out[0].layout());
        long target = staging.ordered(in[1], out[0].layout());
        long g = each ? staging.ordered(in[2], out[0].layout()) : 0;
        long dx = out[0].address();
        sweep.forEach(
            (at, n) -> {
              long from = at[0] - dx;
              loops.binary(BinaryOp.SUB, x + from, target + from, at[0], n);
              loops.binaryRight(BinaryOp.MUL, at[0], scale, at[0], n);
              if (each) {
                loops.binary(BinaryOp.MUL, at[0], g + from, at[0], n);
              }
            });
      }
    }
  }

  /** What both directions of cross entropy know: rows of logits, classes, weights. */
  private record Rows(long logits, long classes, long weights, int count, int n, CrossEntropy op) {
    static @Nullable String refuse(Tensor logits, @Nullable Tensor weights) {
      if (logits.dtype() != DType.F32 || (weights != null && weights.dtype() != DType.F32)) {
        return "needs f32";
      }
      return logits.numel() == 0 ? "needs elements" : null;
    }

    static Layout layout(Tensor logits) {
      return Operands.withInnermost(logits, logits.rank() == 1 ? 0 : 1);
    }

    /** Rows in the memory order of the logits; classes in the same order. */
    static Rows of(
        CrossEntropy op, Tensor logits, Tensor classes, @Nullable Tensor weights, Staging staging) {
      int axis = logits.rank() == 1 ? 0 : 1;
      Layout layout = layout(logits);
      int n = logits.dim(axis);
      return new Rows(
          staging.ordered(logits, layout),
          staging.ordered(classes, positions(layout, axis)),
          weights == null ? 0 : staging.rowMajor(weights),
          Math.toIntExact(logits.numel() / n),
          n,
          op);
    }

    /** The order of positions: that of the logits without the classes. */
    static Layout positions(Layout logits, int axis) {
      long[] strides = new long[logits.shape().rank() - 1];
      for (int i = 0; i < strides.length; i++) {
        strides[i] = logits.stride(i < axis ? i : i + 1) / logits.shape().dim(axis);
      }
      return Layout.of(logits.shape().without(axis), strides, 0);
    }

    /** The class of a row, or -1 if it does not count. */
    int target(int row) {
      long t = Memory.getLong(classes + 8L * row);
      if (t == op.ignoreIndex()) {
        return -1;
      }
      if (t < 0 || t >= n) {
        throw new ShapeException(
            "classes must be in [0, " + n + ") or " + op.ignoreIndex() + "; one is " + t);
      }
      return (int) t;
    }

    double weight(int c) {
      return weights == 0 ? 1 : Memory.getFloat(weights + 4L * c);
    }

    double allWeights() {
      double sum = 0;
      for (int c = 0; c < n; c++) {
        sum += weight(c);
      }
      return sum;
    }

    double counted() {
      double sum = 0;
      for (int row = 0; row < count; row++) {
        int t = target(row);
        sum += t < 0 ? 0 : weight(t);
      }
      return sum;
    }

    double divisor(Tensor classes) {
      return op.reduction() == Reduction.MEAN
          ? counted()
          : LossLaunch.divisor(op.reduction(), classes);
    }

    int grain() {
      return Math.max(1, Sweep.CHUNK / n);
    }
  }

  /** {@link CrossEntropy}. */
  public static final class CrossEntropyForward implements Kernel<CrossEntropy> {
    /** The kernel. */
    public CrossEntropyForward() {}

    @Override
    public @Nullable String refuse(CrossEntropy op, Tensor[] in, Tensor[] out) {
      return Rows.refuse(in[0], in.length > 2 ? in[2] : null);
    }

    @Override
    public void launch(CrossEntropy op, Tensor[] in, Tensor[] out) {
      RowLoops loops = Simd.provider().loops().rows();
      ReduceLoops reduce = Simd.provider().loops().reduce();
      try (Staging staging = new Staging()) {
        Rows rows = Rows.of(op, in[0], in[1], in.length > 2 ? in[2] : null, staging);
        int n = rows.n;
        double smoothing = op.labelSmoothing();
        double all = smoothing == 0 ? 0 : rows.allWeights();
        double[] losses = new double[rows.count];
        Parallel.forRange(
            rows.count,
            rows.grain(),
            (begin, end, worker) -> {
              for (int r = begin; r < end; r++) {
                int t = rows.target(r);
                if (t < 0) {
                  continue;
                }
                long x = rows.logits + 4L * r * n;
                double lse = loops.logSumExp(x, n);
                double loss = rows.weight(t) * (lse - Memory.getFloat(x + 4L * t));
                if (smoothing != 0) {
                  double sum =
                      rows.weights == 0 ? reduce.sum(x, n) : reduce.dot(rows.weights, x, n);
                  loss = (1 - smoothing) * loss + smoothing / n * (all * lse - sum);
                }
                losses[r] = loss;
              }
            });
        if (op.reduction() != Reduction.NONE) {
          double total = 0;
          for (double loss : losses) {
            total += loss;
          }
          Memory.putFloat(out[0].address(), (float) (total / rows.divisor(in[1])));
          return;
        }
        long y = staging.allocate(4L * rows.count);
        for (int r = 0; r < rows.count; r++) {
          Memory.putFloat(y + 4L * r, (float) losses[r]);
        }
        int axis = in[0].rank() == 1 ? 0 : 1;
        Layout positions = Rows.positions(Rows.layout(in[0]), axis);
        StridedCopy.copy(4, y, positions, out[0].address(), out[0].layout());
      }
    }
  }

  /** {@link CrossEntropyBackward}. */
  public static final class CrossEntropyGradient implements Kernel<CrossEntropyBackward> {
    /** The kernel. */
    public CrossEntropyGradient() {}

    @Override
    public @Nullable String refuse(CrossEntropyBackward op, Tensor[] in, Tensor[] out) {
      return in[2].dtype() == DType.F32
          ? Rows.refuse(in[0], in.length > 3 ? in[3] : null)
          : "needs f32";
    }

    @Override
    public void launch(CrossEntropyBackward op, Tensor[] in, Tensor[] out) {
      CrossEntropy forward = op.forward();
      RowLoops loops = Simd.provider().loops().rows();
      ElementwiseLoops pointwise = Simd.provider().loops().elementwise();
      try (Staging staging = new Staging()) {
        Rows rows = Rows.of(forward, in[0], in[1], in.length > 3 ? in[3] : null, staging);
        int n = rows.n;
        Layout layout = Rows.layout(in[0]);
        boolean direct = out[0].layout().sameStrides(layout);
        long dx = direct ? out[0].address() : staging.allocate(out[0].spec().bytes());
        boolean each = forward.reduction() == Reduction.NONE;
        int axis = in[0].rank() == 1 ? 0 : 1;
        long g = each ? staging.ordered(in[2], Rows.positions(layout, axis)) : in[2].address();
        double divisor = each ? 1 : rows.divisor(in[1]);
        double smoothing = forward.labelSmoothing();
        double all = smoothing == 0 ? 0 : rows.allWeights();
        Parallel.forRange(
            rows.count,
            rows.grain(),
            (begin, end, worker) -> {
              for (int r = begin; r < end; r++) {
                long x = rows.logits + 4L * r * n;
                long y = dx + 4L * r * n;
                int t = rows.target(r);
                if (t < 0) {
                  Memory.zero(y, 4L * n);
                  continue;
                }
                double s = Memory.getFloat(each ? g + 4L * r : g) / divisor;
                double sharp = s * (1 - smoothing) * rows.weight(t);
                double flat = s * smoothing / n;
                float lse = loops.logSumExp(x, n);
                pointwise.shiftedExp(-lse, (float) (sharp + flat * all), x, y, n);
                if (smoothing != 0 && rows.weights != 0) {
                  pointwise.axpby(1, y, (float) -flat, rows.weights, y, n);
                } else if (smoothing != 0) {
                  pointwise.binaryRight(BinaryOp.SUB, y, (float) flat, y, n);
                }
                long hit = y + 4L * t;
                Memory.putFloat(hit, (float) (Memory.getFloat(hit) - sharp));
              }
            });
        if (!direct) {
          StridedCopy.copy(4, dx, layout, out[0].address(), out[0].layout());
        }
      }
    }
  }
}
