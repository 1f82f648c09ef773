// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.SortLaunch.Pairs;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Gather;
import io.sfumato.tensor.ops.IndexAdd;
import io.sfumato.tensor.ops.IndexSelect;
import io.sfumato.tensor.ops.PutAlong;
import io.sfumato.tensor.ops.ScatterAdd;
import io.sfumato.tensor.ops.TakeAlong;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Choosing by an index and adding into chosen places. Sums are taken in the order of the source, so
 * they are the same in every run. An index out of range is reported when the host next waits.
 */
final class IndexLaunch {
  private static final int MOST_AXES = 8;
  private static final int THREADS = 256;

  private IndexLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Gather.class, new Take<>(Gather::axis))
        .add(TakeAlong.class, new Take<>(TakeAlong::axis))
        .add(IndexSelect.class, indexSelect())
        .add(PutAlong.class, putAlong())
        .add(ScatterAdd.class, new Scatter())
        .add(IndexAdd.class, new Add());
  }

  private static int narrow(Tensor index) {
    return index.dtype() == DType.I32 ? 1 : 0;
  }

  /** {@code struct Walk}: sizes of the index, steps of the other tensor but along the axis. */
  private static long[] walk(Tensor index, Layout other, int axis) {
    long[] walk = new long[1 + 2 * MOST_AXES];
    walk[0] = index.rank();
    for (int i = 0; i < index.rank(); i++) {
      walk[1 + i] = index.dim(i);
      walk[1 + MOST_AXES + i] = i == axis ? 0 : other.stride(i);
    }
    return walk;
  }

  /** y[…, i, …] = x[…, index[…, i, …], …]. */
  private record Take<O extends Op>(ToIntFunction<O> axisOf) implements Kernel<O> {
    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return in[0].rank() > MOST_AXES ? "needs at most " + MOST_AXES + " axes" : null;
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      long total = out[0].numel();
      if (total == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Tensor x = in[0];
      int axis = x.shape().axis(axisOf.applyAsInt(op));
      try (Staging staging = new Staging(gpu)) {
        gpu.kernel("index", "gather_" + x.dtype().bytes())
            .grid(Math.min(Blocks.ceil(total, THREADS), 64L * gpu.multiprocessors()))
            .block(THREADS)
            .pointer(x)
            .pointer(staging.rowMajor(in[1]))
            .pointer(out[0])
            .longs(walk(in[1], x.layout(), axis))
            .i64(x.layout().stride(axis))
            .i64(x.dim(axis))
            .i64(total)
            .i32(narrow(in[1]))
            .pointer(gpu.errorWord())
            .run();
      }
    }
  }

  private static Kernel<IndexSelect> indexSelect() {
    return (op, in, out) -> {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Tensor x = in[0];
      int axis = x.shape().axis(op.axis());
      try (Staging staging = new Staging(gpu)) {
        boolean rowMajor = out[0].layout().isContiguous();
        long from = rowMajor ? staging.rowMajor(x) : staging.channelsLast(x);
        long index = staging.rowMajor(in[1]);
        long n = in[1].numel();
        long inner = inner(out[0], axis, rowMajor);
        long rows = out[0].numel() / inner;
        long bytes = inner * x.dtype().bytes();
        int unit = 16; // the widest that rows and addresses are multiples of
        while (!Blocks.multiples(unit, bytes, from, out[0].address())) {
          unit /= 2;
        }
        long units = bytes / unit;
        int across = Blocks.power(units, 1, THREADS);
        long tiles = Math.min(Blocks.ceil(units, 4L * across), 65535);
        gpu.kernel("index", "index_select_" + unit)
            .grid(Blocks.ceil(rows, THREADS / across), tiles)
            .block(across, THREADS / across)
            .pointer(from)
            .pointer(index)
            .pointer(out[0])
            .i64(n)
            .i64(x.dim(axis))
            .i64(units)
            .i64(rows)
            .i32(narrow(in[1]))
            .pointer(gpu.errorWord())
            .run();
      }
    };
  }

  /** The number of neighbours that go together when an axis is indexed. */
  private static long inner(Tensor t, int axis, boolean rowMajor) {
    long inner = 1;
    for (int i = 0; i < t.rank(); i++) {
      boolean within = rowMajor ? i > axis : axis != 1 && (i == 1 || i > axis);
      inner *= within ? t.dim(i) : 1;
    }
    return inner;
  }

  private static Kernel<PutAlong> putAlong() {
    return (op, in, out) -> {
      Gpu gpu = Gpu.of(out[0]);
      long inner = innerOf(in[0], op.axis());
      long n = in[0].dim(op.axis());
      long places = out[0].numel();
      try (Staging staging = new Staging(gpu)) {
        long winner = staging.allocate(4 * places);
        gpu.zero(winner, 4 * places);
        if (in[0].numel() > 0) {
          gpu.kernel("index", "put_winners")
              .grid(Blocks.ceil(in[0].numel(), THREADS))
              .block(THREADS)
              .pointer(staging.rowMajor(in[1]))
              .pointer(winner)
              .i64(n)
              .i64(op.size())
              .i64(inner)
              .i64(in[0].numel())
              .pointer(gpu.errorWord())
              .run();
        }
        if (places > 0) {
          gpu.kernel("index", "put_along_" + in[0].dtype().bytes())
              .grid(Blocks.ceil(places, THREADS))
              .block(THREADS)
              .pointer(staging.rowMajor(in[0]))
              .pointer(winner)
              .pointer(out[0])
              .i64(n)
              .i64(op.size())
              .i64(inner)
              .i64(places)
              .run();
        }
      }
    };
  }

  /** The product of the sizes after an axis. */
  private static long innerOf(Tensor t, int axis) {
    long inner = 1;
    for (int i = t.shape().axis(axis) + 1; i < t.rank(); i++) {
      inner *= t.dim(i);
    }
    return inner;
  }

  private static boolean adds(DType dtype) {
    return dtype != DType.U8 && dtype != DType.BOOL;
  }

  /** Bits of numbers below {@code n}, and of one more that is all ones. */
  private static int bits(long n) {
    return 64 - Long.numberOfLeadingZeros(n);
  }

  private static final class Scatter implements Kernel<ScatterAdd> {
    @Override
    public @Nullable String refuse(ScatterAdd op, Tensor[] in, Tensor[] out) {
      if (!adds(out[0].dtype())) {
        return "needs f32, bf16, f16, f64, i64 or i32";
      }
      if (in[0].rank() > MOST_AXES) {
        return "needs at most " + MOST_AXES + " axes";
      }
      return out[0].numel() >= Integer.MAX_VALUE || in[1].numel() >= Integer.MAX_VALUE
          ? "needs fewer than 2^31 elements"
          : null;
    }

    @Override
    public void launch(ScatterAdd op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(out[0]);
      Tensor y = out[0];
      CopyLaunch.copy(gpu, in[0], y.address(), y.layout());
      int n = Math.toIntExact(in[1].numel());
      if (n == 0) {
        return;
      }
      int axis = y.shape().axis(op.axis());
      try (Staging staging = new Staging(gpu)) {
        Pairs pairs = new Pairs(staging.allocate(4L * n), staging.allocate(4L * n));
        gpu.kernel("index", "scatter_keys")
            .grid(Blocks.ceil(n, THREADS))
            .block(THREADS)
            .pointer(staging.rowMajor(in[1]))
            .pointer(pairs.key())
            .pointer(pairs.order())
            .longs(walk(in[1], y.layout(), axis))
            .i64(y.layout().stride(axis))
            .i64(y.dim(axis))
            .i64(n)
            .i32(narrow(in[1]))
            .pointer(gpu.errorWord())
            .run();
        Pairs sorted = SortLaunch.pairs(gpu, staging, pairs, n, bits(y.numel()));
        gpu.kernel("index", "scatter_segments_" + Types.suffix(y.dtype()))
            .grid(Blocks.ceil(n, THREADS))
            .block(THREADS)
            .pointer(staging.rowMajor(in[2]))
            .pointer(sorted.key())
            .pointer(sorted.order())
            .pointer(y)
            .i64(n)
            .run();
      }
    }
  }

  private static final class Add implements Kernel<IndexAdd> {
    @Override
    public @Nullable String refuse(IndexAdd op, Tensor[] in, Tensor[] out) {
      return adds(out[0].dtype()) ? null : "needs f32, bf16, f16, f64, i64 or i32";
    }

    @Override
    public void launch(IndexAdd op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(out[0]);
      Tensor y = out[0];
      int n = Math.toIntExact(in[1].numel());
      int axis = y.shape().axis(op.axis());
      try (Staging staging = new Staging(gpu)) {
        Pairs pairs = new Pairs(staging.allocate(4L * n), staging.allocate(4L * n));
        if (n > 0) {
          gpu.kernel("index", "row_keys")
              .grid(Blocks.ceil(n, THREADS))
              .block(THREADS)
              .pointer(staging.rowMajor(in[1]))
              .pointer(pairs.key())
              .pointer(pairs.order())
              .i64(op.size())
              .i64(n)
              .i32(narrow(in[1]))
              .pointer(gpu.errorWord())
              .run();
        }
        if (y.numel() == 0) {
          return;
        }
        Pairs sorted = n > 0 ? SortLaunch.pairs(gpu, staging, pairs, n, bits(op.size())) : pairs;
        long start = staging.allocate(4L * (op.size() + 1));
        gpu.kernel("index", "row_starts")
            .grid(Blocks.ceil(op.size() + 1L, THREADS))
            .block(THREADS)
            .pointer(sorted.key())
            .pointer(start)
            .i64(n)
            .i64(op.size())
            .run();
        boolean rowMajor = y.layout().isContiguous();
        long x = rowMajor ? staging.rowMajor(in[0]) : staging.channelsLast(in[0]);
        long inner = inner(y, axis, rowMajor);
        long rows = y.numel() / inner;
        int width = 16 / y.dtype().bytes();
        boolean vector = inner % width == 0 && Blocks.multiples(16, x, y.address());
        long units = Blocks.ceil(inner, vector ? width : 1);
        int across = Blocks.power(units, 1, units > (1 << 20) ? THREADS : 64);
        gpu.kernel("index", "index_add_" + Types.suffix(y.dtype()))
            .grid(
                Math.min(rows, 8L * gpu.multiprocessors()),
                Blocks.ceil(inner, (long) across * (vector ? width : 1)))
            .block(across, THREADS / across)
            .pointer(x)
            .pointer(start)
            .pointer(sorted.order())
            .pointer(y)
            .i64(n)
            .i64(op.size())
            .i64(inner)
            .i64(rows)
            .i32(vector ? 1 : 0)
            .run();
      }
    }
  }
}
