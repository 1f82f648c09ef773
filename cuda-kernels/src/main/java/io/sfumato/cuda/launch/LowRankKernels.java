// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;

/**
 * The kernels of low_rank.cu: for 16-bit types, ranks to 64 and rows at multiples of 16 bytes.
 *
 * @param dtype the type of all operands
 * @param m rows of x and dy
 * @param n columns of dy
 * @param k columns of x
 * @param r the rank
 * @param scale the factor of the change
 * @param x [m, k]
 * @param y dy, or the result of the layer: [m, n]
 * @param a the first factor, [r, k]
 * @param b the second factor, [n, r]
 */
record LowRankKernels(
    DType dtype,
    int m,
    int n,
    int k,
    int r,
    double scale,
    Matrices x,
    Matrices y,
    Matrices a,
    Matrices b) {
  private static final int ROWS = 32; // as in the kernels
  private static final int WARPS = 8;
  private static final int COLUMNS = 64;
  private static final int DEPTH = 64;
  private static final int STAGES = 3;
  private static final int MOST = 64;

  /** Whether the kernels take it. */
  boolean fits() {
    return dtype.bytes() == 2
        && 0 < r
        && r <= MOST
        && m > 0
        && aligned(x, k)
        && aligned(y, n)
        && (m + ROWS - 1) / ROWS * 2L < Integer.MAX_VALUE;
  }

  private static boolean aligned(Matrices rows, int columns) {
    return columns > 0
        && columns % 8 == 0
        && rows.column() == 1
        && rows.row() % 8 == 0
        && rows.address() % 16 == 0;
  }

  /** Writes {@code s (x Aᵀ) Bᵀ + bias} to y; bias is an address, or 0. */
  void update(Gpu gpu, long bias) {
    int padded = padded();
    int pitch = Math.max(16, padded) + 8;
    gpu.kernel("low_rank", "low_rank_update_" + padded + "_" + Types.suffix(dtype))
        .grid(Blocks.ceil(m, ROWS))
        .block(WARPS * 32)
        .shared(WARPS * ROWS * padded * 4 + 2 * ROWS * pitch * 2)
        .pointer(x.address())
        .pointer(a.address())
        .pointer(b.address())
        .pointer(bias)
        .pointer(y.address())
        .longs(words())
        .f32(scale)
        .run();
  }

  /** Writes the gradients of the factors, dA [r, k] and dB [n, r], where y is dy. */
  void gradients(Gpu gpu, long da, long db) {
    int padded = padded();
    String suffix = padded + "_" + Types.suffix(dtype);
    int tiles = Math.toIntExact(Blocks.ceil(n, COLUMNS) + Blocks.ceil(k, COLUMNS));
    long wanted = Blocks.ceil((padded > 32 ? 2L : 4L) * gpu.multiprocessors(), tiles);
    long depth = Math.max(2, Blocks.ceil(Blocks.ceil(m, DEPTH), wanted)) * DEPTH;
    long parts = Blocks.ceil(m, depth);
    long thin = (long) m * 2 * padded * 2;
    long partial = tiles * parts * COLUMNS * padded * 4;
    try (Scratch g = gpu.scratch(thin);
        Scratch h = gpu.scratch(thin);
        Scratch sums = gpu.scratch(partial);
        Scratch counters = gpu.scratch(4L * tiles)) {
      gpu.kernel("low_rank", "low_rank_factors_" + suffix)
          .grid(Blocks.ceil(m, ROWS), 2)
          .block(WARPS * 32)
          .shared(WARPS * ROWS * padded * 4)
          .pointer(y.address())
          .pointer(x.address())
          .pointer(a.address())
          .pointer(b.address())
          .pointer(g.address())
          .pointer(h.address())
          .pointer(counters.address())
          .i32(tiles)
          .longs(words())
          .f32(scale)
          .run();
      gpu.kernel("low_rank", "low_rank_gradients_" + suffix)
          .grid(tiles, parts)
          .block(128)
          .shared(STAGES * DEPTH * (COLUMNS + 2 * padded + 8) * 2)
          .pointer(y.address())
          .pointer(x.address())
          .pointer(g.address())
          .pointer(h.address())
          .pointer(da)
          .pointer(db)
          .pointer(sums.address())
          .pointer(counters.address())
          .i64(depth)
          .longs(words())
          .run();
    }
  }

  /** The rank made up to one that there are kernels for. */
  private int padded() {
    return Blocks.power(r, 8, MOST);
  }

  /** {@code struct LowRank}. */
  private long[] words() {
    long[] words = {m, n, k, r, x.row(), y.row(), 0, 0, 0, 0, 0, 0, 0, 0};
    factor(words, 6, a.address(), a.row(), a.column());
    factor(words, 10, b.address(), b.column(), b.row());
    return words;
  }

  private void factor(long[] words, int at, long address, long rank, long step) {
    words[at] = rank;
    words[at + 1] = step;
    words[at + 2] = step == 1 && rank % 8 == 0 && address % 16 == 0 ? 1 : 0;
    words[at + 3] = rank == 1 && step % 2 == 0 && address % 4 == 0 && r % 2 == 0 ? 1 : 0;
  }
}
