// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/**
 * Batches of small products of 16 bits: what is widened, multiplied and rounded together are many
 * products, which stay in a worker's cache.
 */
final class GemmSmallHalves {
  /** Multiplications of a product up to which this way is the faster one. */
  private static final double SMALL = 1 << 16;

  /** Elements of a group's operands and results, about. */
  private static final int GROUP = 1 << 16;

  private GemmSmallHalves() {}

  /** Whether this way is the faster one. */
  static boolean pays(int m, int n, int k) {
    return k > 0 && (double) m * n * k < SMALL;
  }

  static void multiply(
      GemmTile tile, int batch, int m, int n, int k, Matrix a, Matrix b, Matrix c, long bias) {
    int each = m * k + k * n + m * n;
    int group = Math.clamp(GROUP / Math.max(1, each), 1, batch);
    Parallel.forRange(
        batch,
        group,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i += group) {
            int some = Math.min(group, end - i);
            Matrix left = widened(some, m, k, a.at(0, 0, i), Scratch.Slot.WIDENED_ROWS);
            Matrix right = widened(some, k, n, b.at(0, 0, i), Scratch.Slot.WIDENED);
            boolean narrow = !c.isFloat();
            long sums = narrow ? Scratch.get(Scratch.Slot.RESULT, 4L * some * m * n) : 0;
            Matrix to = narrow ? Matrix.stack(sums, m, n) : c.at(0, 0, i);
            for (int p = 0; p < some; p++) {
              product(tile, m, n, k, left.at(0, 0, p), right.at(0, 0, p), to.at(0, 0, p), bias);
            }
            if (narrow) {
              round(some, m, n, to, c.at(0, 0, i));
            }
          }
        });
  }

  /** A product of floats, by tiles over one panel after the other. */
  private static void product(
      GemmTile tile, int m, int n, int k, Matrix a, Matrix b, Matrix c, long bias) {
    int full = Panels.fullWidth(tile);
    for (int j = 0; j < n; j += full) {
      int columns = Math.min(full, n - j);
      int width = Panels.width(tile, columns);
      boolean inPlace = b.colStride() == 1 && columns == width;
      long panel = b.address() + 4L * j;
      if (!inPlace) {
        Matrix from = b.at(0, j, 0);
        panel = Scratch.get(Scratch.Slot.SUMS, 4L * k * width);
        Panels.pack(tile, k, columns, from.address(), from.rowStride(), from.colStride(), panel);
      }
      Panels.multiply(
          tile,
          m,
          columns,
          k,
          a.address(),
          tile.maxRows() * a.rowStride(),
          a.rowStride(),
          a.colStride(),
          panel,
          inPlace ? b.rowStride() : width,
          bias == 0 ? 0 : bias + 4L * j,
          c.address() + 4L * j,
          c.rowStride(),
          false);
    }
  }

  /** Matrices as floats: where they lie, or in a buffer. */
  private static Matrix widened(int batch, int rows, int columns, Matrix x, Scratch.Slot slot) {
    if (x.isFloat()) {
      return x;
    }
    int count = x.batchStride() == 0 ? 1 : batch;
    long size = (long) rows * columns;
    long stride = count == 1 ? 0 : size;
    long step = x.byColumns() ? x.colStride() : x.rowStride();
    boolean dense = step == (x.byColumns() ? rows : columns) && step * size > 0;
    long to = Scratch.get(slot, 4 * size * count);
    if (dense && Math.min(x.rowStride(), x.colStride()) == 1 && stride == x.batchStride()) {
      Loops.leaf().casts().widen(x.type(), x.address(), to, (int) (size * count));
    } else {
      for (int i = 0; i < count; i++) {
        x.at(0, 0, i).widen(rows, columns, to + 4 * size * i);
      }
    }
    return x.byColumns() ? new Matrix(to, 1, rows, stride) : new Matrix(to, columns, 1, stride);
  }

  private static void round(int batch, int m, int n, Matrix from, Matrix to) {
    CastLoops casts = Loops.leaf().casts();
    boolean stack = to.batchStride() == m * to.rowStride();
    int rows = stack ? batch * m : m; // at a time
    for (int i = 0; i < batch * m; i += rows) {
      long sums = from.address() + 4L * i * n;
      long at = to.at(0, 0, i / m).address();
      casts.narrowRows(to.type(), rows, n, sums, 4L * n, at, 2 * to.rowStride());
    }
  }
}
