// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.ReducedAxes;
import io.sfumato.tensor.ops.ArgReduce;
import io.sfumato.tensor.ops.LogSumExp;
import io.sfumato.tensor.ops.Reduce;
import io.sfumato.tensor.ops.SumTo;
import io.sfumato.tensor.ops.Variance;
import java.util.List;

/**
 * Reductions over any axes of any layout, of every type. Where there are fewer results than the
 * device has room for, parts of each are reduced by blocks of their own and merged by the last.
 */
final class ReduceLaunch {
  private static final int THREADS = 256;
  private static final int FEW_ACROSS = 8;

  private ReduceLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Reduce.class, reduce())
        .add(SumTo.class, sumTo())
        .add(Variance.class, variance())
        .add(LogSumExp.class, logSumExp())
        .add(ArgReduce.class, argReduce());
  }

  private static Kernel<Reduce> reduce() {
    return (op, in, out) -> {
      boolean[] axes = ReducedAxes.flags(in[0].shape(), op.axes());
      DType accumulator = accumulator(in[0].dtype());
      switch (op.kind()) {
        case SUM, MEAN -> {
          boolean mean = op.kind() == Reduce.Kind.MEAN;
          double factor = mean ? (double) out[0].numel() / in[0].numel() : 1;
          new Rule("reduce", "sum", accumulator.bytes(), 0, factor).run(in[0], out[0], axes);
        }
        default -> {
          int kind =
              switch (op.kind()) {
                case MIN -> 1;
                case PROD -> 2;
                case ANY -> 3;
                case ALL -> 4;
                default -> 0;
              };
          new Rule("reduce", "fold", accumulator.bytes(), kind, 1).run(in[0], out[0], axes);
        }
      }
    };
  }

  private static Kernel<SumTo> sumTo() {
    return (op, in, out) -> {
      boolean[] reduced = ReducedAxes.flagsTo(in[0].shape(), op.target());
      int bytes = accumulator(in[0].dtype()).bytes();
      new Rule("reduce", "sum", bytes, 0, 1).run(in[0], out[0], reduced);
    };
  }

  private static Kernel<Variance> variance() {
    return (op, in, out) -> {
      boolean[] axes = ReducedAxes.flags(in[0].shape(), op.axes());
      double n = (double) in[0].numel() / out[0].numel();
      double factor = 1 / Math.max(0, n - op.correction());
      int bytes = 3 * accumulator(in[0].dtype()).bytes();
      new Rule("statistics", "variance", bytes, op.root() ? 1 : 0, factor).run(in[0], out[0], axes);
    };
  }

  private static Kernel<LogSumExp> logSumExp() {
    return (op, in, out) -> {
      int bytes = 2 * accumulator(in[0].dtype()).bytes();
      new Rule("statistics", "logsumexp", bytes, 0, 1)
          .run(in[0], out[0], ReducedAxes.flags(in[0].shape(), op.axes()));
    };
  }

  private static Kernel<ArgReduce> argReduce() {
    return (op, in, out) ->
        new Rule("statistics", "arg", 16, op.max() ? 1 : 0, 1)
            .run(in[0], out[0], ReducedAxes.flags(in[0].shape(), List.of(op.axis())));
  }

  private static DType accumulator(DType dtype) {
    return dtype.isFloating() ? dtype.accumulator() : DType.I64;
  }

  /** The suffix of a kernel that takes truth values as bytes. */
  static String suffix(DType dtype) {
    return Types.suffix(dtype == DType.BOOL ? DType.U8 : dtype);
  }

  /**
   * A family of reduction kernels and what it is told.
   *
   * @param family the module
   * @param name the first part of the kernels' names
   * @param bytes size of an accumulator
   * @param kind a number for the rule
   * @param factor a factor for the result
   */
  private record Rule(String family, String name, int bytes, int kind, double factor) {
    void run(Tensor x, Tensor y, boolean[] reduced) {
      if (y.numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(x);
      ReduceShape shape = ReduceShape.of(x.layout(), reduced);
      if (shape.fits()) {
        run(gpu, x.dtype(), x.address(), y, shape);
        return;
      }
      Layout wanted = ReducedAxes.keptFirst(x.shape(), reduced);
      try (Staging staging = new Staging(gpu)) {
        long address = staging.ordered(x, wanted);
        run(gpu, x.dtype(), address, y, ReduceShape.of(wanted, reduced));
      }
    }

    private void run(Gpu gpu, DType dtype, long x, Tensor y, ReduceShape shape) {
      int width = Math.min(8, 16 / dtype.bytes());
      boolean vector = x % ((long) width * dtype.bytes()) == 0 && shape.isVector(width);
      long units = vector && !shape.columns() ? shape.n() / width : shape.n();
      long room = 4L * gpu.multiprocessors();
      int across;
      long blocks;
      if (shape.columns()) {
        long columns = shape.kept().getLast().size();
        long perThread = vector ? width : 1;
        long batches = shape.results() / columns;
        across = Blocks.power(Blocks.ceil(columns, perThread), 1, 32);
        blocks = batches * Blocks.ceil(columns, across * perThread);
        if (2 * blocks <= room && across > FEW_ACROSS) {
          across = FEW_ACROSS; // more blocks, with more rows of each column
          blocks = batches * Blocks.ceil(columns, across * perThread);
        }
      } else {
        boolean wholeBlock = units > 512 || (units > 64 && shape.results() < room);
        across = wholeBlock ? THREADS : Blocks.power(Blocks.ceil(units, 4), 4, 32);
        blocks = Blocks.ceil(shape.results(), THREADS / across);
      }
      long down = shape.columns() ? THREADS / across : across; // threads that share a result
      long parts = 1;
      if (2 * blocks <= Math.min(room, Gpu.COUNTERS)) {
        long most = shape.columns() ? columnParts(units, down) : rowParts(units, down);
        parts = Math.max(1, Math.min(Blocks.ceil(room, blocks), most));
      }
      String suffix = suffix(dtype);
      try (Scratch partial = gpu.scratch(parts == 1 ? 0 : shape.results() * parts * bytes)) {
        gpu.kernel(family, name + (shape.columns() ? "_columns_" : "_rows_") + suffix)
            .grid(blocks, parts)
            .block(across, THREADS / across)
            .pointer(x)
            .pointer(y)
            .pointer(partial.address())
            .pointer(gpu.counters())
            .longs(shape.words())
            .i32(vector ? 1 : 0)
            .i32(kind)
            .f64(factor)
            .run();
      }
    }

    private static long rowParts(long units, long down) {
      return Math.min(1024, Blocks.ceil(units, 4 * down));
    }

    /**
     * One for so few rows that a thread can take its own; else as many as leave each thread a few,
     * but no more than are merged in no time, unless rows are very many.
     */
    private static long columnParts(long units, long down) {
      if (units <= 16 * down) {
        return 1;
      }
      return Math.max(Math.min(64, Blocks.ceil(units, 8 * down)), Blocks.ceil(units, 64 * down));
    }
  }
}
