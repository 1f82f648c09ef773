// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.Blocks.Lines;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Sort;
import io.sfumato.tensor.ops.TopK;

/** Stable sorting along an axis, and of pairs of keys and places. */
final class SortLaunch {
  private static final int SHORT = 2048; // as in sort.cu
  private static final int TILE = 2048;
  private static final int DIGITS = 256;
  private static final int MOST_LINES = 65535;

  private SortLaunch() {}

  static KernelTable addTo(KernelTable table) {
    Kernel<Sort> sort =
        (op, in, out) -> launch(op.axis(), in[0].dim(op.axis()), op.descending(), in[0], out);
    Kernel<TopK> top = (op, in, out) -> launch(op.axis(), op.k(), op.largest(), in[0], out);
    return table.add(Sort.class, sort).add(TopK.class, top);
  }

  private static void launch(int axis, int k, boolean descending, Tensor x, Tensor[] out) {
    if (out[0].numel() == 0) {
      return;
    }
    Gpu gpu = Gpu.of(x);
    if (x.rank() == 0) {
      throw new IllegalArgumentException("sort needs an axis");
    }
    Lines lines = Lines.of(Layout.contiguous(x.shape()), axis);
    long inner = lines.inner();
    int n = Math.toIntExact(lines.n());
    String suffix = ReduceLaunch.suffix(x.dtype());
    try (Staging staging = new Staging(gpu)) {
      long from = staging.rowMajor(x);
      if (n <= SHORT) {
        int size = Blocks.power(n, 2, SHORT);
        gpu.kernel("sort", "sort_short_" + suffix)
            .grid(lines.count())
            .block(Math.max(32, Math.min(512, size / 2)))
            .pointer(from)
            .pointer(out[0])
            .pointer(out[1])
            .i32(n)
            .i32(k)
            .i64(inner)
            .i32(size)
            .i32(descending ? 1 : 0)
            .run();
        return;
      }
      long total = lines.count() * n;
      int bytes = x.dtype().bytes() == 8 ? 8 : 4;
      Pairs pairs = new Pairs(staging.allocate(bytes * total), staging.allocate(4 * total));
      gpu.kernel("sort", "sort_keys_" + suffix)
          .grid(Blocks.ceil(total, 256))
          .block(256)
          .pointer(from)
          .pointer(pairs.key)
          .pointer(pairs.order)
          .i64(n)
          .i64(inner)
          .i64(total)
          .i32(descending ? 1 : 0)
          .run();
      Pairs sorted = radix(gpu, staging, pairs, bytes, lines.count(), n, bits(x.dtype()));
      gpu.kernel("sort", "sort_finish_" + suffix)
          .grid(Blocks.ceil(lines.count() * k, 256))
          .block(256)
          .pointer(from)
          .pointer(sorted.order)
          .pointer(out[0])
          .pointer(out[1])
          .i64(n)
          .i64(k)
          .i64(inner)
          .i64(lines.count() * k)
          .run();
    }
  }

  private static int bits(DType dtype) {
    return 8 * dtype.bytes();
  }

  /**
   * Addresses of keys and of the places (u32) that go with them.
   *
   * @param key keys
   * @param order places
   */
  record Pairs(long key, long order) {}

  /**
   * Sorts n pairs of 32-bit keys by their lowest bits, stable for places that ascend.
   *
   * @param bits how many bits count; keys that differ above must not occur, but all ones
   */
  static Pairs pairs(Gpu gpu, Staging staging, Pairs pairs, int n, int bits) {
    if (n > SHORT) {
      return radix(gpu, staging, pairs, 4, 1, n, bits);
    }
    int size = Blocks.power(n, 2, SHORT);
    gpu.kernel("sort", "sort_pairs_short")
        .grid(1)
        .block(Math.max(32, Math.min(512, size / 2)))
        .pointer(pairs.key)
        .pointer(pairs.order)
        .i32(n)
        .i32(size)
        .run();
    return pairs;
  }

  private static Pairs radix(
      Gpu gpu, Staging staging, Pairs pairs, int bytes, long lines, int n, int bits) {
    int tiles = Math.toIntExact(Blocks.ceil(n, TILE));
    long count = staging.allocate(4L * lines * DIGITS * tiles);
    long totals = staging.allocate(4 * lines * DIGITS);
    Pairs from = pairs;
    Pairs to = new Pairs(staging.allocate(bytes * lines * n), staging.allocate(4 * lines * n));
    for (int shift = 0; shift < bits; shift += 8) {
      for (long line = 0; line < lines; line += MOST_LINES) {
        long some = Math.min(MOST_LINES, lines - line);
        long skip = line * n;
        long counts = count + 4 * line * DIGITS * tiles;
        long sums = totals + 4 * line * DIGITS;
        gpu.kernel("sort", "radix_count_" + 8 * bytes)
            .grid(tiles, some)
            .block(DIGITS)
            .pointer(from.key + bytes * skip)
            .pointer(counts)
            .i64(n)
            .i32(shift)
            .run();
        gpu.kernel("sort", "radix_scan")
            .grid(some * DIGITS)
            .block(DIGITS)
            .pointer(counts)
            .pointer(sums)
            .i32(tiles)
            .run();
        gpu.kernel("sort", "radix_scatter_" + 8 * bytes)
            .grid(tiles, some)
            .block(DIGITS)
            .pointer(from.key + bytes * skip)
            .pointer(from.order + 4 * skip)
            .pointer(to.key + bytes * skip)
            .pointer(to.order + 4 * skip)
            .pointer(counts)
            .pointer(sums)
            .i64(n)
            .i32(shift)
            .run();
      }
      Pairs swap = from;
      from = to;
      to = swap;
    }
    return from;
  }
}
