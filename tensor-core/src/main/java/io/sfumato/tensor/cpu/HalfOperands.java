// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/**
 * Operands of products of bfloat16 on a {@link HalfUnit}: <em>panels</em> of up to 16 columns of B,
 * and of A <em>slabs</em> of up to 16 rows, unless it is read where it lies. Both are tiles, one
 * after the other along what is summed over, the last filled up with zeros.
 */
final class HalfOperands {
  /** The longest sum at a time: with it two panels stay in an L1 cache. */
  static final int K_BLOCK = 512;

  /** Rows of a block, at most. */
  static final int ROW_BLOCK = 256;

  private static final int SIDE = MatrixUnit.SIDE;
  private static final int DEPTH = MatrixUnit.DEPTH;
  private static final int ROW_BYTES = MatrixUnit.ROW_BYTES;
  private static final int TILE_BYTES = MatrixUnit.TILE_BYTES;
  private static final int BYTES = Short.BYTES;

  /** Shorter sums, and fewer columns, leave most of a tile empty. */
  private static final int LEAST = 8;

  private HalfOperands() {}

  /** Whether a product is faster on the unit than by tiles. */
  static boolean pays(int n, int k) {
    return n >= LEAST && k >= LEAST;
  }

  /** Bytes of a slab or panel over {@code k} elements. */
  static long bytes(int k) {
    return (long) SplitOperands.steps(k) * TILE_BYTES;
  }

  /** Bytes of all panels of a matrix [k, n]. */
  static long allBytes(int k, int n) {
    return SplitOperands.count(n) * bytes(k);
  }

  /**
   * Rearranges panels of a matrix [k, n].
   *
   * @param k rows
   * @param n columns of the whole matrix
   * @param first the first panel
   * @param last the panel behind the last one
   * @param b the matrix
   * @param to address of panel 0; each is {@link #bytes} long
   */
  static void panels(HalfUnit unit, int k, int n, int first, int last, Matrix b, long to) {
    long bytes = bytes(k);
    int whole = Math.clamp(n / SIDE, first, last);
    if (whole > first) {
      panels(unit, k, SIDE, whole - first, b.at(0, first * SIDE, 0), to + first * bytes, bytes);
    }
    if (whole < last) {
      panels(unit, k, n - whole * SIDE, 1, b.at(0, whole * SIDE, 0), to + whole * bytes, bytes);
    }
  }

  private static void panels(
      HalfUnit unit, int k, int columns, int panels, Matrix b, long to, long bytes) {
    if (b.colStride() == 1) {
      for (int p = 0; p < k; p += DEPTH) {
        Matrix rows = b.at(p, 0, 0);
        pairs(unit, Math.min(DEPTH, k - p), columns, panels, rows, to + tile(p), bytes);
      }
    } else if (b.rowStride() == 1) {
      for (int j = 0; j < panels; j++) {
        transposed(unit, k, columns, b.at(0, j * SIDE, 0), to + j * bytes);
      }
    } else {
      long dense = Scratch.get(Scratch.Slot.TILE, DEPTH * ROW_BYTES);
      for (int i = 0; i < panels * SplitOperands.steps(k); i++) {
        int j = i % panels;
        int p = i / panels * DEPTH;
        int rows = Math.min(DEPTH, k - p);
        Matrix block = gather(rows, columns, b.at(p, j * SIDE, 0), dense);
        pairs(unit, rows, columns, 1, block, to + j * bytes + tile(p), bytes);
      }
    }
  }

  private static long tile(int p) {
    return (long) (p / DEPTH) * TILE_BYTES;
  }

  /** A block [rows, columns] of a matrix with any strides, row after row. */
  private static Matrix gather(int rows, int columns, Matrix from, long to) {
    for (int i = 0; i < rows; i++) {
      long row = from.address() + BYTES * i * from.rowStride();
      for (int j = 0; j < columns; j++) {
        short value = Memory.getShort(row + BYTES * j * from.colStride());
        Memory.putShort(to + (long) BYTES * (i * columns + j), value);
      }
    }
    return Matrix.rowMajor(to, columns, from.type());
  }

  /** Tiles side by side from up to 32 rows, of columns that lie side by side. */
  private static void pairs(
      HalfUnit unit, int rows, int columns, int blocks, Matrix b, long to, long toStep) {
    long step = BYTES * b.rowStride();
    long from = b.address();
    long next = (long) BYTES * SIDE;
    int pairs = rows / 2;
    if (pairs > 0) {
      unit.pairs(
          blocks, pairs, from, step, 2 * step, next, to, toStep, columns, columns, DEPTH * step);
    }
    long row = to + (long) pairs * ROW_BYTES;
    if (rows % 2 != 0) {
      long last = from + (rows - 1) * step;
      unit.pairs(blocks, 1, last, 0, 0, next, row, toStep, columns, 0, 0);
      row += ROW_BYTES;
    }
    int empty = SIDE - (rows + 1) / 2;
    if (empty > 0) {
      unit.pairs(blocks, empty, from, 0, 0, 0, row, toStep, 0, 0, 0);
    }
  }

  /** A panel whose columns lie along what is summed over. */
  private static void transposed(HalfUnit unit, int k, int columns, Matrix b, long to) {
    int whole = k / DEPTH;
    int rest = k % DEPTH;
    long step = BYTES * b.colStride();
    long from = b.address();
    if (columns == SIDE) {
      if (whole > 0) {
        unit.transpose(whole, from, step, ROW_BYTES, to, TILE_BYTES, DEPTH);
      }
      if (rest > 0) {
        unit.transpose(
            1, from + (long) whole * ROW_BYTES, step, 0, to + (long) whole * TILE_BYTES, 0, rest);
      }
      return;
    }
    // what the columns beyond hold does not matter
    long slab = Scratch.get(Scratch.Slot.TILE, bytes(k));
    slab(unit, columns, k, b.transposed(), slab);
    unit.transpose(whole + (rest > 0 ? 1 : 0), slab, ROW_BYTES, TILE_BYTES, to, TILE_BYTES, DEPTH);
  }

  /**
   * Rearranges slabs.
   *
   * @param rows rows
   * @param k columns
   * @param a the matrix
   * @param to address of the first slab; each is {@link #bytes} long
   */
  static void slabs(HalfUnit unit, int rows, int k, Matrix a, long to) {
    long bytes = bytes(k);
    if (a.rowStride() != 1 || a.colStride() == 1) {
      for (int r = 0; r < rows; r += SIDE) {
        slab(unit, Math.min(SIDE, rows - r), k, a.at(r, 0, 0), to + r / SIDE * bytes);
      }
      return;
    }
    int whole = rows / SIDE;
    int slabs = SplitOperands.count(rows);
    long paired = Scratch.get(Scratch.Slot.TILE, (long) slabs * TILE_BYTES);
    for (int p = 0; p < k; p += DEPTH) { // a cache line holds rows of two slabs
      int length = Math.min(DEPTH, k - p);
      Matrix columns = a.at(0, p, 0).transposed();
      if (whole > 0) {
        pairs(unit, length, SIDE, whole, columns, paired, TILE_BYTES);
      }
      if (whole < slabs) {
        Matrix last = columns.at(0, whole * SIDE, 0);
        long at = paired + (long) whole * TILE_BYTES;
        pairs(unit, length, rows - whole * SIDE, 1, last, at, TILE_BYTES);
      }
      unit.transpose(slabs, paired, ROW_BYTES, TILE_BYTES, to + tile(p), bytes, DEPTH);
    }
  }

  /** A slab of up to 16 rows that do not lie side by side. */
  private static void slab(HalfUnit unit, int rows, int k, Matrix a, long to) {
    if (a.colStride() != 1) {
      long dense = Scratch.get(Scratch.Slot.ROW, (long) BYTES * rows * k);
      slab(unit, rows, k, gather(rows, k, a, dense), to);
      return;
    }
    blocks(unit, rows, k, a.address(), BYTES * a.rowStride(), to, TILE_BYTES);
  }

  /**
   * Copies rows in pieces of up to 32 elements to {@code [piece][row]}, filled up with zeros.
   *
   * @param rows how many
   * @param n elements of a row
   * @param from address of the first row
   * @param step bytes from one row to the next
   * @param to address of the first piece of the first row
   * @param toStep bytes from there to its next piece
   */
  static void blocks(HalfUnit unit, int rows, int n, long from, long step, long to, long toStep) {
    int whole = n / DEPTH;
    int rest = n % DEPTH;
    if (whole > 0) {
      unit.rows(whole, rows, from, step, ROW_BYTES, to, toStep, DEPTH);
    }
    if (rest > 0) {
      unit.rows(1, rows, from + (long) whole * ROW_BYTES, step, 0, to + whole * toStep, 0, rest);
    }
  }

  /** Whether whole slabs of A over {@code k} elements are read where they lie. */
  static boolean inPlace(Matrix a, int k) {
    long step = BYTES * a.rowStride();
    return a.colStride() == 1 && k % DEPTH == 0 && ((a.address() | step) & (ROW_BYTES - 1)) == 0;
  }

  /** Bytes of a slab or panel over {@code k} floats, split in two. */
  static long splitBytes(int k) {
    return 2 * bytes(k);
  }

  /** Splits rows of floats in two, to slabs of {@link #splitBytes}; tiles of parts alternate. */
  static void splitSlabs(HalfUnit unit, int rows, int k, long from, long rowStride, long to) {
    int whole = k / DEPTH;
    int rest = k % DEPTH;
    long step = 4 * rowStride;
    long half = 4 * SIDE;
    for (int r = 0; r < rows; r += SIDE) {
      int some = Math.min(SIDE, rows - r);
      long slab = to + r / SIDE * splitBytes(k);
      long row = from + r * step;
      if (whole > 0) {
        unit.splitRows(
            whole, some, row, half, step, 2 * half, slab, 2 * TILE_BYTES, TILE_BYTES, SIDE, SIDE);
      }
      if (rest > 0) {
        int lanes = Math.min(SIDE, rest);
        long last = row + 4L * whole * DEPTH;
        long tile = slab + 2L * whole * TILE_BYTES;
        unit.splitRows(1, some, last, half, step, 0, tile, 0, TILE_BYTES, lanes, rest - lanes);
      }
    }
  }

  /** Splits a matrix [k, n] of floats in two, to panels of {@link #splitBytes}. */
  static void splitPanels(HalfUnit unit, int k, int n, long from, long rowStride, long to) {
    int whole = n / SIDE;
    long bytes = splitBytes(k);
    long step = 4 * rowStride;
    for (int p = 0; p < k; p += DEPTH) {
      int rows = Math.min(DEPTH, k - p);
      long row = from + p * step;
      long tile = to + 2 * tile(p);
      if (whole > 0) {
        splitPanels(unit, rows, SIDE, whole, row, step, tile, bytes);
      }
      if (whole * SIDE < n) {
        long last = tile + whole * bytes;
        splitPanels(unit, rows, n - whole * SIDE, 1, row + 4L * whole * SIDE, step, last, bytes);
      }
    }
  }

  /** Tiles of both parts, side by side, from up to 32 rows. */
  private static void splitPanels(
      HalfUnit unit, int rows, int columns, int panels, long from, long step, long to, long bytes) {
    int pairs = rows / 2;
    long next = 4 * SIDE;
    if (pairs > 0) {
      unit.splitPairs(
          panels, pairs, from, step, 2 * step, next, to, bytes, TILE_BYTES, columns, columns);
    }
    long row = to + (long) pairs * ROW_BYTES;
    if (rows % 2 != 0) {
      long last = from + (rows - 1) * step;
      unit.splitPairs(panels, 1, last, 0, 0, next, row, bytes, TILE_BYTES, columns, 0);
      row += ROW_BYTES;
    }
    int empty = SIDE - (rows + 1) / 2;
    if (empty > 0) {
      unit.splitPairs(panels, empty, from, 0, 0, 0, row, bytes, TILE_BYTES, 0, 0);
    }
  }
}
