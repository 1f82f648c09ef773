// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.BinaryOp;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.ReduceLoops;
import io.sfumato.tensor.cpu.Reductions;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.exec.ReducedAxes;
import io.sfumato.tensor.exec.ReducedAxes.Axis;
import io.sfumato.tensor.ops.Reduce;
import io.sfumato.tensor.ops.SumTo;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Sums, means, maxima and minima in f32, over any axes of any layout. Axes are joined in memory
 * order; reduced and kept ones then alternate. What ends in a reduced axis is read as rows, what
 * ends in a kept one as columns; anything that fits neither is first copied to kept × reduced.
 *
 * @param <O> the op
 */
public final class ReduceLaunch<O extends Op> implements Kernel<O> {
  /** Rows at least this long are shared among threads. */
  private static final int LONG = 1 << 16;

  private ReduceLaunch() {}

  /** {@link Reduce}. */
  public static ReduceLaunch<Reduce> reduce() {
    return new ReduceLaunch<>();
  }

  /** {@link SumTo}. */
  public static ReduceLaunch<SumTo> sumTo() {
    return new ReduceLaunch<>();
  }

  @Override
  public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
    if (in[0].numel() == 0) {
      return "needs elements";
    }
    if (op instanceof Reduce r) {
      switch (r.kind()) {
        case PROD, ANY, ALL -> {
          return "takes sum, mean, max and min only";
        }
        default -> {}
      }
    }
    return Operands.floatsOnly(in, out);
  }

  @Override
  public void launch(O op, Tensor[] in, Tensor[] out) {
    Reduce.Kind kind = op instanceof Reduce r ? r.kind() : Reduce.Kind.SUM;
    Tensor x = in[0];
    boolean[] reduced = reducedAxes(op, x.shape());
    List<Axis> axes = ReducedAxes.joined(x.layout(), reduced);
    long y = out[0].address();
    if (axes.stream().noneMatch(Axis::reduced)) { // only axes of size 1 go
      StridedCopy.copy(4, x.address(), x.layout(), y, Layout.contiguous(x.shape()));
    } else if (!run(kind, axes, x.address(), y)) {
      Layout wanted = ReducedAxes.keptFirst(x.shape(), reduced);
      try (Staging staging = new Staging()) {
        if (!run(kind, ReducedAxes.joined(wanted, reduced), staging.ordered(x, wanted), y)) {
          throw new IllegalStateException(op.name() + ": no loop fits " + x.layout());
        }
      }
    }
    if (kind == Reduce.Kind.MEAN) {
      float factor = (float) ((double) out[0].numel() / x.numel());
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      loops.binaryRight(BinaryOp.MUL, y, factor, y, Math.toIntExact(out[0].numel()));
    }
  }

  private static boolean[] reducedAxes(Op op, Shape x) {
    return switch (op) {
      case Reduce r -> ReducedAxes.flags(x, r.axes());
      case SumTo to -> ReducedAxes.flagsTo(x, to.target());
      default -> throw new IllegalArgumentException(op.name() + " reduces no axes");
    };
  }

  /** Computes rows or columns; false if the axes are neither. */
  private static boolean run(Reduce.Kind kind, List<Axis> axes, long x, long y) {
    if (axes.isEmpty()) {
      Memory.copy(x, y, 4);
      return true;
    }
    List<Axis> rest = new ArrayList<>(axes);
    Axis inner = rest.removeLast();
    if (inner.step() != 1) {
      return false;
    }
    if (inner.reduced()) {
      rows(kind, rest, Math.toIntExact(inner.size()), x, y);
      return true;
    }
    if (inner.outStep() != 1 || rest.isEmpty() || !rest.getLast().reduced()) {
      return false;
    }
    Axis down = rest.removeLast();
    if (down.step() != inner.size() || rest.stream().anyMatch(Axis::reduced)) {
      return false;
    }
    columns(kind, rest, Math.toIntExact(down.size()), Math.toIntExact(inner.size()), x, y);
    return true;
  }

  private static void rows(Reduce.Kind kind, List<Axis> rest, int n, long x, long y) {
    List<Axis> kept = rest.stream().filter(a -> !a.reduced()).toList();
    List<Axis> outer = rest.stream().filter(a -> a.reduced()).toList();
    int results = count(kept);
    int parts = count(outer);
    boolean sum = kind == Reduce.Kind.SUM || kind == Reduce.Kind.MEAN;
    if (sum && results < 16 && n >= LONG) {
      for (int k = 0; k < results; k++) {
        double total = 0;
        for (int p = 0; p < parts; p++) {
          total += Reductions.sum(x + 4 * (position(kept, k) + position(outer, p)), n);
        }
        Memory.putFloat(y + 4 * outPosition(kept, k), (float) total);
      }
      return;
    }
    ReduceLoops loops = Simd.provider().loops().reduce();
    int grain = Math.max(1, Sweep.CHUNK / Math.max(1, n * Math.min(parts, Sweep.CHUNK)));
    Parallel.forRange(
        results,
        grain,
        (begin, end, worker) -> {
          for (int k = begin; k < end; k++) {
            double total =
                sum
                    ? 0
                    : kind == Reduce.Kind.MAX ? Double.NEGATIVE_INFINITY : Double.POSITIVE_INFINITY;
            long at = x + 4 * position(kept, k);
            for (int p = 0; p < parts; p++) {
              long row = at + 4 * position(outer, p);
              total =
                  switch (kind) {
                    case MAX -> Math.max(total, loops.max(row, n));
                    case MIN -> Math.min(total, min(row, n));
                    default -> total + loops.sum(row, n);
                  };
            }
            Memory.putFloat(y + 4 * outPosition(kept, k), (float) total);
          }
        });
  }

  private static void columns(Reduce.Kind kind, List<Axis> kept, int rows, int n, long x, long y) {
    int batches = count(kept);
    boolean sum = kind == Reduce.Kind.SUM || kind == Reduce.Kind.MEAN;
    if (sum && batches < 16 && (long) rows * n >= LONG) {
      for (int k = 0; k < batches; k++) {
        long from = x + 4 * position(kept, k);
        Reductions.columnSums(from, y + 4 * outPosition(kept, k), rows, n);
      }
      return;
    }
    ReduceLoops loops = Simd.provider().loops().reduce();
    ElementwiseLoops pointwise = Simd.provider().loops().elementwise();
    BinaryOp extremum = kind == Reduce.Kind.MIN ? BinaryOp.MIN : BinaryOp.MAX;
    Parallel.forRange(
        batches,
        (int) Math.max(1, Sweep.CHUNK / ((long) rows * n)),
        (begin, end, worker) -> {
          for (int k = begin; k < end; k++) {
            long from = x + 4 * position(kept, k);
            long to = y + 4 * outPosition(kept, k);
            if (sum) {
              Memory.zero(to, 4L * n);
              loops.addColumns(from, to, rows, n);
              continue;
            }
            Memory.copy(from, to, 4L * n);
            for (int r = 1; r < rows; r++) {
              pointwise.binary(extremum, to, from + 4L * r * n, to, n);
            }
          }
        });
  }

  private static float min(long x, int n) {
    float min = Float.POSITIVE_INFINITY;
    for (int i = 0; i < n; i++) {
      min = Math.min(min, Memory.getFloat(x + 4L * i));
    }
    return min;
  }

  private static int count(List<Axis> axes) {
    int n = 1;
    for (Axis axis : axes) {
      n = Math.multiplyExact(n, Math.toIntExact(axis.size()));
    }
    return n;
  }

  private static long position(List<Axis> axes, int index) {
    long position = 0;
    int rest = index;
    for (int i = axes.size() - 1; i >= 0; i--) {
      int size = (int) axes.get(i).size();
      position += rest % size * axes.get(i).step();
      rest /= size;
    }
    return position;
  }

  private static long outPosition(List<Axis> axes, int index) {
    long position = 0;
    int rest = index;
    for (int i = axes.size() - 1; i >= 0; i--) {
      int size = (int) axes.get(i).size();
      position += rest % size * axes.get(i).outStep();
      rest /= size;
    }
    return position;
  }
}
