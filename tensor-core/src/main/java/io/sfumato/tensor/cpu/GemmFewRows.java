// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/**
 * Products with a result of few rows or columns and long sums, as the gradients of low-rank factors
 * are: {@code C = A B} with some rows of A, and a B that is read once, where it lies.
 *
 * <p>The sums are cut into parts, which the workers take; each has a partial result, and these are
 * added in order. The number of parts depends on the sizes alone. A result of few columns is
 * computed as its transpose.
 */
final class GemmFewRows {
  private static final int MOST_ROWS = 16;

  /** The shortest sum that is cut. */
  private static final int LONG = 1024;

  private static final int PART = 256;
  private static final int MOST_PARTS = 32;

  /** Rows of B that stay in the cache while the tiles go along them. */
  private static final int BLOCK = 64;

  private GemmFewRows() {}

  /** Whether this way is the faster one. */
  static boolean pays(GemmTile tile, int m, int n, int k, Matrix a, Matrix b) {
    return k >= LONG
        && a.isFloat()
        && b.isFloat()
        && (wide(tile, m, n, b) || wide(tile, n, m, a.transposed()));
  }

  private static boolean wide(GemmTile tile, int m, int n, Matrix b) {
    return m <= MOST_ROWS && n >= 4 * m && b.colStride() == 1 && n % tile.lanes() == 0;
  }

  static void multiply(
      GemmTile tile,
      int m,
      int n,
      int k,
      Matrix a,
      Matrix b,
      Matrix c,
      boolean accumulate,
      long bias) {
    boolean swapped = !wide(tile, m, n, b);
    int rows = swapped ? n : m;
    int columns = swapped ? m : n;
    Matrix left = swapped ? b.transposed() : a;
    Matrix right = swapped ? a.transposed() : b;
    int parts = Math.clamp(k / PART, 1, MOST_PARTS);
    long floats = (long) rows * columns;
    long partials = Scratch.get(Scratch.Slot.PARTIAL_SUMS, 4 * floats * parts);
    Parallel.forRange(
        parts,
        1,
        (begin, end, worker) -> {
          for (int part = begin; part < end; part++) {
            int first = (int) ((long) part * k / parts);
            int last = (int) ((long) (part + 1) * k / parts);
            long to = partials + 4 * floats * part;
            for (int p = first; p < last; p += BLOCK) {
              block(
                  tile,
                  rows,
                  columns,
                  Math.min(BLOCK, last - p),
                  left.at(0, p, 0),
                  right.at(p, 0, 0),
                  to,
                  p > first);
            }
          }
        });
    tile.addRows(parts - 1, (int) floats, partials + 4 * floats, floats, partials, 0);
    if (swapped) {
      deliverTransposed(m, n, partials, c, accumulate, bias);
    } else {
      deliver(tile, m, n, partials, c, accumulate, bias);
    }
  }

  private static void block(
      GemmTile tile, int rows, int columns, int k, Matrix a, Matrix b, long to, boolean add) {
    int full = Panels.fullWidth(tile);
    for (int j = 0; j < columns; j += full) {
      Panels.multiply(
          tile,
          rows,
          Math.min(full, columns - j),
          k,
          a.address(),
          tile.maxRows() * a.rowStride(),
          a.rowStride(),
          a.colStride(),
          b.address() + 4L * j,
          b.rowStride(),
          to + 4L * j,
          columns,
          add);
    }
  }

  private static void deliver(
      GemmTile tile, int m, int n, long sums, Matrix c, boolean accumulate, long bias) {
    if (bias != 0) {
      tile.addRows(m, n, bias, 0, sums, n);
    }
    if (accumulate) {
      tile.addRows(m, n, sums, n, c.address(), c.rowStride());
    } else {
      tile.copyRows(m, n, sums, n, c.address(), c.rowStride());
    }
  }

  /** As {@link #deliver}, from sums that lie {@code [n][m]}. */
  private static void deliverTransposed(
      int m, int n, long sums, Matrix c, boolean accumulate, long bias) {
    for (int i = 0; i < m; i++) {
      long to = c.address() + 4 * i * c.rowStride();
      for (int j = 0; j < n; j++) {
        float value = Memory.getFloat(sums + 4L * ((long) j * m + i));
        if (bias != 0) {
          value += Memory.getFloat(bias + 4L * j);
        }
        if (accumulate) {
          value += Memory.getFloat(to + 4L * j);
        }
        Memory.putFloat(to + 4L * j, value);
      }
    }
  }
}
