// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.lang.foreign.Arena;
import java.util.function.IntToLongFunction;

/**
 * Operands of products on a {@link MatrixUnit}: <em>slabs</em> of up to 16 rows of A and
 * <em>panels</em> of up to 16 columns of B, split over up to {@link #K_BLOCK} elements of what is
 * summed over. Each has a header, whose first integer is not zero if its values cannot be split,
 * and then its blocks. All slabs, or panels, over as many elements are as long.
 */
final class SplitOperands {
  /** Rows of a slab, columns of a panel. */
  static final int SIDE = MatrixUnit.SIDE;

  /** The longest sum at a time: with it a panel stays in an L1 cache, a block of rows in an L2. */
  static final int K_BLOCK = 256;

  /** Rows of a block, at most. */
  static final int ROW_BLOCK = 256;

  private static final int HEADER = 64;
  private static final int DEPTH = MatrixUnit.DEPTH;

  private static final int ROW_BYTES = MatrixUnit.ROW_BYTES;
  private static final int TILE_BYTES = MatrixUnit.TILE_BYTES;

  /** The table of steps: blocks follow one another. */
  private static final long STEPS =
      table(K_BLOCK / DEPTH, SplitOperands::block, SplitOperands::block);

  private SplitOperands() {}

  /** A table of steps that is kept: where they are from the beginnings of A and of a panel. */
  static long table(int steps, IntToLongFunction left, IntToLongFunction right) {
    long table = Arena.global().allocate((long) steps * MatrixUnit.ENTRY_BYTES, 64).address();
    for (int i = 0; i < steps; i++) {
      entry(table, i, left.applyAsLong(i), right.applyAsLong(i));
    }
    return table;
  }

  private static long block(int step) {
    return (long) step * MatrixUnit.BLOCK_BYTES;
  }

  /** Writes an entry of a table. */
  static void entry(long table, int i, long first, long second) {
    Memory.putLong(table + (long) i * MatrixUnit.ENTRY_BYTES, first);
    Memory.putLong(table + (long) i * MatrixUnit.ENTRY_BYTES + 8, second);
  }

  /**
   * Whether a product is faster on the unit, by cycles of a core: a step of 16 x 16 x 32 takes 96,
   * splitting a value half of one; a tile does 26 multiply-adds in one.
   */
  static boolean pays(int m, int n, int k) {
    double split = 0.5 * ((double) m + n) * k + 96.0 * count(m) * count(n) * steps(k);
    return split < (double) m * n * k / 26;
  }

  /** Slabs for rows, panels for columns. */
  static int count(int side) {
    return (side + SIDE - 1) / SIDE;
  }

  /** Blocks along what is summed over. */
  static int steps(int k) {
    return (k + DEPTH - 1) / DEPTH;
  }

  /** Bytes of a slab or panel over {@code k} elements, at most {@link #K_BLOCK}. */
  static long bytes(int k) {
    return HEADER + (long) steps(k) * MatrixUnit.BLOCK_BYTES;
  }

  /** Bytes of a panel over {@code k} elements, cut at multiples of {@link #K_BLOCK}. */
  static long panelBytes(int k) {
    return cutBytes(k, K_BLOCK);
  }

  /** Bytes of a slab or panel over {@code k} elements, cut at multiples of {@code block}. */
  static long cutBytes(int k, int block) {
    int rest = k % block;
    return k / block * bytes(block) + (rest > 0 ? bytes(rest) : 0);
  }

  /** Bytes of all panels of a matrix [k, n]. */
  static long allBytes(int k, int n) {
    return count(n) * panelBytes(k);
  }

  /** Whether the product with a slab or panel must do without the unit. */
  static boolean isUnfit(long operand) {
    return Memory.getInt(operand) != 0;
  }

  /** Whether all panels over {@code k} elements could be split. */
  static boolean areFit(int k, int panels, long at) {
    for (int panel = 0; panel < panels; panel++) {
      for (int p = 0; p < k; p += K_BLOCK) {
        if (isUnfit(at)) {
          return false;
        }
        at += bytes(Math.min(K_BLOCK, k - p));
      }
    }
    return true;
  }

  /** Where the blocks of a slab or panel begin. */
  static long blocks(long operand) {
    return operand + HEADER;
  }

  private static void setFit(long operand, boolean fit) {
    Memory.putInt(operand, fit ? 0 : 1);
  }

  /**
   * Splits a slab.
   *
   * @param rows rows, at most {@link #SIDE}
   * @param k columns, at most {@link #K_BLOCK}
   * @param a address of the first element
   * @param rowStride floats between rows
   * @param colStride floats between columns
   * @param to address of the slab
   */
  static void slab(
      GemmTile tile,
      MatrixUnit unit,
      int rows,
      int k,
      long a,
      long rowStride,
      long colStride,
      long to) {
    long from = a;
    long step = 4 * rowStride;
    long ahead = SIDE * step;
    if (colStride != 1) {
      from = Scratch.get(Scratch.Slot.TILE, 4L * rows * k);
      Panels.transpose(tile, rows, k, 1f, a, rowStride, colStride, from, k);
      step = 4L * k;
      ahead = 0;
    }
    boolean fit =
        rows(unit, rows, k, from, step, blocks(to), MatrixUnit.BLOCK_BYTES, TILE_BYTES, ahead);
    setFit(to, fit);
  }

  /**
   * Splits rows that lie along what is summed over.
   *
   * @param rows rows
   * @param k floats of a row
   * @param from address of the first row
   * @param step bytes from one row to the next
   * @param to address of the first block
   * @param toStep bytes from there to the next
   * @param part bytes from one part to the next
   * @param ahead bytes from a row to the one that is asked for from memory meanwhile
   * @return whether all values could be split
   */
  static boolean rows(
      MatrixUnit unit,
      int rows,
      int k,
      long from,
      long step,
      long to,
      long toStep,
      long part,
      long ahead) {
    int whole = k / DEPTH;
    int rest = k % DEPTH;
    long second = 4 * SIDE;
    boolean fit = true;
    if (whole > 0) {
      fit =
          unit.split(
              whole, rows, from, second, step, 4 * DEPTH, to, toStep, part, SIDE, SIDE, ahead);
    }
    if (rest > 0) {
      long last = from + 4L * whole * DEPTH;
      int lanes = Math.min(SIDE, rest);
      fit &=
          unit.split(
              1,
              rows,
              last,
              second,
              step,
              0,
              to + whole * toStep,
              0,
              part,
              lanes,
              rest - lanes,
              ahead);
    }
    return fit;
  }

  /**
   * Splits panels of a matrix [k, n].
   *
   * @param k rows, cut at multiples of {@link #K_BLOCK}
   * @param n columns of the whole matrix
   * @param first the first panel
   * @param last the panel behind the last one
   * @param b the matrix
   * @param to address of panel 0; each is {@link #panelBytes} long
   */
  static void panels(
      GemmTile tile, MatrixUnit unit, int k, int n, int first, int last, Gemm.Matrix b, long to) {
    long panelBytes = panelBytes(k);
    for (int p = 0; p < k; p += K_BLOCK) {
      int length = Math.min(K_BLOCK, k - p);
      long block = to + p / K_BLOCK * bytes(K_BLOCK);
      int whole = b.isFloat() && b.colStride() == 1 ? Math.min(last, n / SIDE) : first;
      if (whole > first) {
        boolean fit =
            split(
                unit,
                length,
                SIDE,
                whole - first,
                b.at(p, first * SIDE, 0),
                block + first * panelBytes,
                panelBytes);
        whole = fit ? whole : first; // to find which one is not
      }
      for (int j = whole; j < last; j++) {
        int columns = Math.min(SIDE, n - j * SIDE);
        Gemm.Matrix piece = b.at(p, j * SIDE, 0).floats(length, columns, Scratch.Slot.WIDENED);
        if (piece.colStride() != 1) {
          long dense = Scratch.get(Scratch.Slot.TILE, 4L * SIDE * K_BLOCK);
          Panels.transpose(
              tile,
              length,
              columns,
              1f,
              piece.address(),
              piece.rowStride(),
              piece.colStride(),
              dense,
              columns);
          piece = Gemm.Matrix.rowMajor(dense, columns);
        }
        split(unit, length, columns, 1, piece, block + j * panelBytes, panelBytes);
      }
    }
  }

  /**
   * Splits all panels of a matrix [k, n] whose rows are contiguous, whatever its values are.
   *
   * @param k rows, at most {@link #K_BLOCK}
   * @param n columns
   * @param b the matrix
   * @param to address of the panels, {@link #bytes} long each
   */
  static void panels(MatrixUnit unit, int k, int n, Gemm.Matrix b, long to) {
    int whole = n / SIDE;
    if (whole > 0) {
      split(unit, k, SIDE, whole, b, to, bytes(k));
    }
    if (whole * SIDE < n) {
      split(
          unit, k, n - whole * SIDE, 1, b.at(0, whole * SIDE, 0), to + whole * bytes(k), bytes(k));
    }
  }

  /**
   * Splits panels side by side, 32 rows of all at a time, as they lie.
   *
   * @param columns columns of a panel; 16 if there are several
   * @return whether all values could be split
   */
  private static boolean split(
      MatrixUnit unit, int k, int columns, int panels, Gemm.Matrix b, long to, long panelBytes) {
    long step = 4 * b.rowStride();
    long next = 4 * SIDE;
    boolean fit = true;
    for (int p = 0; p < k; p += DEPTH) {
      long from = b.address() + p * step;
      long at = to + HEADER + (long) p / DEPTH * MatrixUnit.BLOCK_BYTES;
      int left = Math.min(DEPTH, k - p);
      int pairs = Math.max(0, left - SIDE);
      int rows = Math.min(SIDE, left);
      if (pairs > 0) {
        fit &=
            unit.split(
                panels,
                pairs,
                from,
                SIDE * step,
                step,
                next,
                at,
                panelBytes,
                TILE_BYTES,
                columns,
                columns,
                DEPTH * step);
      }
      if (rows > pairs) { // their second row is beyond the last one
        long single = from + pairs * step;
        long row = at + (long) pairs * ROW_BYTES;
        fit &=
            unit.split(
                panels,
                rows - pairs,
                single,
                0,
                step,
                next,
                row,
                panelBytes,
                TILE_BYTES,
                columns,
                0,
                0);
      }
      if (rows < SIDE) {
        long row = at + (long) rows * ROW_BYTES;
        fit &= unit.split(panels, SIDE - rows, from, 0, 0, 0, row, panelBytes, TILE_BYTES, 0, 0, 0);
      }
    }
    for (int i = 0; i < panels; i++) {
      setFit(to + i * panelBytes, fit);
    }
    return fit;
  }

  /**
   * The product of a block of rows with panels side by side, over up to {@link #K_BLOCK} elements.
   *
   * @param rows rows of A and C
   * @param columns columns of C
   * @param k the length of the sums
   * @param slabs address of the slabs of A; all are fit
   * @param panels address of the panels; all are fit
   * @param panelBytes from one panel to the next
   * @param bias address of what is added to each row, or 0; only with {@code accumulate} false
   * @param c address of {@code C[0, 0]}
   * @param ldc floats between rows of C
   * @param accumulate whether to add to C
   */
  static void multiply(
      GemmTile tile,
      MatrixUnit unit,
      int rows,
      int columns,
      int k,
      long slabs,
      long panels,
      long panelBytes,
      long bias,
      long c,
      long ldc,
      boolean accumulate) {
    int whole = rows / SIDE;
    int wide = columns / SIDE;
    if (whole > 0 && wide > 0) {
      long table = Scratch.get(Scratch.Slot.TABLE, (whole + 1L) * MatrixUnit.ENTRY_BYTES);
      for (int i = 0; i <= whole; i++) {
        entry(table, i, slabs + i * bytes(k) + HEADER, c + 4 * i * SIDE * ldc);
      }
      long start = accumulate ? MatrixUnit.ADD : bias;
      multiply(unit, whole, table, k, wide, panels, panelBytes, start, 4 * ldc);
    }
    for (int j = 0; j < columns; j += SIDE) {
      int some = Math.min(SIDE, columns - j);
      for (int r = some == SIDE ? whole * SIDE : 0; r < rows; r += SIDE) {
        int count = Math.min(SIDE, rows - r);
        long block = Scratch.get(Scratch.Slot.TILE, 4L * SIDE * SIDE);
        long table = Scratch.get(Scratch.Slot.TABLE, 2 * MatrixUnit.ENTRY_BYTES);
        entry(table, 0, slabs + r / SIDE * bytes(k) + HEADER, block);
        entry(table, 1, 0, block);
        multiply(unit, 1, table, k, 1, panels + j / SIDE * panelBytes, 0, 0, 4 * SIDE);
        long added = bias == 0 ? 0 : bias + 4L * j;
        tile.deliver(count, some, block, SIDE, added, c + 4 * (r * ldc + j), ldc, accumulate);
      }
    }
  }

  private static void multiply(
      MatrixUnit unit,
      int slabs,
      long table,
      int k,
      int panels,
      long b,
      long panelBytes,
      long start,
      long rowC) {
    unit.multiply(
        slabs,
        table,
        steps(k),
        STEPS,
        ROW_BYTES,
        TILE_BYTES,
        panels,
        b + HEADER,
        panelBytes,
        TILE_BYTES,
        start,
        rowC);
  }
}
