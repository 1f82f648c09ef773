// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.RowLoops;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.SoftmaxKernel;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.ArgReduce;
import io.sfumato.tensor.ops.CumSum;
import io.sfumato.tensor.ops.LogSoftmax;
import io.sfumato.tensor.ops.LogSoftmaxBackward;
import io.sfumato.tensor.ops.LogSumExp;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.SoftmaxBackward;
import io.sfumato.tensor.ops.Variance;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * f32 ops on lines: each line of one axis becomes a row of neighbouring floats, where it is not one
 * already by a copy.
 */
public final class LineLaunch {
  private LineLaunch() {}

  /** Maps lines that lie one behind the other; 0 stands for an operand that is absent. */
  @FunctionalInterface
  private interface Lines {
    void run(long a, long b, long y, int lines, int n);
  }

  /** Sees one line that gives one value. */
  @FunctionalInterface
  private interface Value<O> {
    void run(O op, long x, int n, Tensor out, long index);
  }

  /** {@link Softmax}. */
  public static Kernel<Softmax> softmax() {
    return new Mapped<>(
        op -> op.axis(), (x, none, y, lines, n) -> SoftmaxKernel.forward(x, y, lines, n));
  }

  /** {@link SoftmaxBackward}. */
  public static Kernel<SoftmaxBackward> softmaxBackward() {
    return new Mapped<>(
        op -> op.axis(), (y, dy, dx, lines, n) -> SoftmaxKernel.backward(y, dy, dx, lines, n));
  }

  /** {@link LogSoftmax}. */
  public static Kernel<LogSoftmax> logSoftmax() {
    return new Mapped<>(
        op -> op.axis(), (x, none, y, lines, n) -> SoftmaxKernel.logForward(x, y, lines, n));
  }

  /** {@link LogSoftmaxBackward}. */
  public static Kernel<LogSoftmaxBackward> logSoftmaxBackward() {
    return new Mapped<>(
        op -> op.axis(), (y, dy, dx, lines, n) -> SoftmaxKernel.logBackward(y, dy, dx, lines, n));
  }

  /** {@link CumSum}. */
  public static Kernel<CumSum> cumsum() {
    return new CumSumLaunch();
  }

  /** {@link LogSumExp}. */
  public static Kernel<LogSumExp> logSumExp() {
    return new Reduced<>(
        LogSumExp::axes,
        (op, x, n, out, i) ->
            Memory.putFloat(out.address() + 4 * i, Simd.provider().loops().rows().logSumExp(x, n)));
  }

  /** {@link Variance}. */
  public static Kernel<Variance> variance() {
    return new Reduced<>(
        Variance::axes,
        (op, x, n, out, i) -> {
          RowLoops loops = Simd.provider().loops().rows();
          double squares = loops.squaredDeviations(x, n, (float) loops.mean(x, n));
          double variance = squares / Math.max(0, n - op.correction());
          double y = op.root() ? Math.sqrt(variance) : variance;
          Memory.putFloat(out.address() + 4 * i, (float) y);
        });
  }

  /** {@link ArgReduce}. */
  public static Kernel<ArgReduce> argReduce() {
    return new Reduced<>(
        op -> List.of(op.axis()),
        (op, x, n, out, i) -> Memory.putLong(out.address() + 8 * i, best(op.max(), x, n)));
  }

  private static long best(boolean max, long x, int n) {
    int best = 0;
    float holder = Memory.getFloat(x);
    for (int i = 1; i < n && !Float.isNaN(holder); i++) {
      float v = Memory.getFloat(x + 4L * i);
      if (Float.isNaN(v) || (max ? v > holder : v < holder)) {
        best = i;
        holder = v;
      }
    }
    return best;
  }

  /** The axis of an op. */
  @FunctionalInterface
  private interface AxisOf<O> {
    int of(O op);
  }

  /** The reduced axes of an op. */
  @FunctionalInterface
  private interface AxesOf<O> {
    List<Integer> of(O op);
  }

  /** Lines that become lines of equal length. */
  private record Mapped<O extends Op>(AxisOf<O> axis, Lines map) implements Kernel<O> {
    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return in[0].rank() == 0 ? "needs an axis" : Staging.refuse(in, out);
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      Layout layout = Operands.withInnermost(in[0], axis.of(op));
      try (Staging staging = new Staging()) {
        long a = staging.ordered(in[0], layout);
        long b = in.length > 1 ? staging.ordered(in[1], layout) : 0;
        boolean direct = out[0].layout().sameStrides(layout);
        long y = direct ? out[0].address() : staging.allocate(out[0].spec().bytes());
        int n = in[0].dim(axis.of(op));
        map.run(a, b, y, Math.toIntExact(in[0].numel() / n), n);
        if (!direct) {
          StridedCopy.copy(4, y, layout, out[0].address(), out[0].layout());
        }
      }
    }
  }

  /** Lines that become one value each, in row-major order of the lines. */
  private record Reduced<O extends Op>(AxesOf<O> axes, Value<O> value) implements Kernel<O> {
    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      if (in[0].numel() == 0) {
        return "needs elements";
      }
      return in[0].dtype() == DType.F32 ? null : "needs f32";
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      Shape shape = in[0].shape();
      int[] reduced = shape.axes(axes.of(op).stream().mapToInt(Integer::intValue).toArray());
      int[] order =
          IntStream.concat(
                  IntStream.range(0, shape.rank())
                      .filter(i -> IntStream.of(reduced).noneMatch(r -> r == i)),
                  IntStream.of(reduced))
              .toArray();
      int n = Math.toIntExact(shape.numel() / out[0].numel());
      try (Staging staging = new Staging()) {
        long x = staging.ordered(in[0], Layout.ordered(shape, order));
        forRows(out[0].numel(), n, row -> value.run(op, x + 4 * row * n, n, out[0], row));
      }
    }
  }

  /**
   * Running sums: rows where the axis is innermost, else whole planes added to the plane before.
   */
  private static final class CumSumLaunch implements Kernel<CumSum> {
    @Override
    public @Nullable String refuse(CumSum op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(CumSum op, Tensor[] in, Tensor[] out) {
      int axis = in[0].shape().axis(op.axis());
      int n = in[0].dim(axis);
      long inner = 1;
      for (int i = axis + 1; i < in[0].rank(); i++) {
        inner *= in[0].dim(i);
      }
      long step = 4 * inner * (op.reversed() ? -1 : 1);
      long width = inner;
      try (Staging staging = new Staging()) {
        long x = staging.rowMajor(in[0]);
        long y = out[0].address();
        forRows(
            in[0].numel() / n,
            n,
            line -> {
              long at = 4 * (line / width * n * width + line % width);
              at += op.reversed() ? 4 * width * (n - 1) : 0;
              double sum = 0;
              for (int i = 0; i < n; i++) {
                sum += Memory.getFloat(x + at);
                Memory.putFloat(y + at, (float) sum);
                at += step;
              }
            });
      }
    }
  }

  /** Sees a row number. */
  @FunctionalInterface
  private interface Row {
    void run(long row);
  }

  private static void forRows(long rows, int n, Row body) {
    Parallel.forRange(
        Math.toIntExact(rows),
        Math.max(1, Sweep.CHUNK / n),
        (begin, end, worker) -> {
          for (int row = begin; row < end; row++) {
            body.run(row);
          }
        });
  }
}
