// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.lang.foreign.Arena;

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

  /** The tables of steps, for A as it lies and in slabs. */
  private static final long IN_PLACE = steps(ROW_BYTES, TILE_BYTES);

  static final long IN_SLABS = steps(TILE_BYTES, TILE_BYTES);

  /** Those for slabs, or panels, of which a product has two parts. */
  private static final long SPLIT_SLABS = splitSteps(2, 1);

  private static final long SPLIT_PANELS = splitSteps(1, 2);

  private HalfOperands() {}

  private static long steps(long left, long right) {
    int steps = K_BLOCK / DEPTH;
    long table = Arena.global().allocate((long) steps * MatrixUnit.ENTRY_BYTES, 64).address();
    for (int i = 0; i < steps; i++) {
      SplitOperands.entry(table, i, i * left, i * right);
    }
    return table;
  }

  private static long splitSteps(int leftParts, int rightParts) {
    int steps = 2 * K_BLOCK / DEPTH;
    long table = Arena.global().allocate((long) steps * MatrixUnit.ENTRY_BYTES, 64).address();
    for (int i = 0; i < steps; i++) {
      long left = leftParts == 2 ? i : i / 2;
      long right = rightParts == 2 ? i : i / 2;
      SplitOperands.entry(table, i, left * TILE_BYTES, right * TILE_BYTES);
    }
    return table;
  }

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
    int whole = k / DEPTH;
    int rest = k % DEPTH;
    long step = BYTES * a.rowStride();
    if (whole > 0) {
      unit.rows(whole, rows, a.address(), step, ROW_BYTES, to, TILE_BYTES, DEPTH);
    }
    if (rest > 0) {
      long last = a.address() + (long) whole * ROW_BYTES;
      unit.rows(1, rows, last, step, 0, to + (long) whole * TILE_BYTES, 0, rest);
    }
  }

  /** Whether whole slabs of A over {@code k} elements are read where they lie. */
  static boolean inPlace(Matrix a, int k) {
    long step = BYTES * a.rowStride();
    return a.colStride() == 1 && k % DEPTH == 0 && ((a.address() | step) & (ROW_BYTES - 1)) == 0;
  }

  /**
   * The product of a block of rows with panels side by side, over up to {@link #K_BLOCK} elements.
   *
   * @param rows rows of A and C
   * @param columns columns of C
   * @param k the length of the sums
   * @param a the left operand
   * @param panels address of the panels
   * @param panelBytes from one panel to the next
   * @param bias address of what is added to each row, or 0; only with {@code accumulate} false
   * @param c address of {@code C[0, 0]}
   * @param ldc floats between rows of C
   * @param accumulate whether to add to C
   */
  static void multiply(
      GemmTile tile,
      HalfUnit unit,
      int rows,
      int columns,
      int k,
      Matrix a,
      long panels,
      long panelBytes,
      long bias,
      long c,
      long ldc,
      boolean accumulate) {
    boolean inPlace = inPlace(a, k);
    int whole = rows / SIDE;
    int slabs = SplitOperands.count(rows);
    int packed = inPlace ? whole * SIDE : 0; // the first row that is
    long slabBytes = bytes(k);
    long block = Scratch.get(Scratch.Slot.PACKED_A, slabs * slabBytes);
    if (packed < rows) {
      long to = block + packed / SIDE * slabBytes;
      slabs(unit, rows - packed, k, a.at(packed, 0, 0), to);
    }
    int wide = columns / SIDE * SIDE;
    long start = accumulate ? MatrixUnit.ADD : bias;
    Left left = inPlace ? Left.inPlace(a) : new Left(block, slabBytes, ROW_BYTES, IN_SLABS);
    Left last =
        inPlace ? new Left(block + whole * slabBytes, 0, ROW_BYTES, IN_SLABS) : left.from(whole);
    int done = whole * SIDE;
    long rest = columns - wide;
    if (whole > 0 && wide > 0) {
      multiply(unit, left, whole, k, wide, panels, panelBytes, start, c, ldc);
    }
    if (done < rows) { // all columns of the last slab
      int padded = SplitOperands.count(columns) * SIDE;
      long sums = Scratch.get(Scratch.Slot.SUMS, 4L * SIDE * padded);
      multiply(unit, last, 1, k, padded, panels, panelBytes, 0, sums, padded);
      deliver(tile, rows - done, columns, sums, padded, bias, c + 4 * done * ldc, ldc, accumulate);
    }
    if (whole > 0 && rest > 0) { // the last columns of all other slabs
      long sums = Scratch.get(Scratch.Slot.SUMS, 4L * done * SIDE);
      long panel = panels + wide / SIDE * panelBytes;
      multiply(unit, left, whole, k, SIDE, panel, panelBytes, 0, sums, SIDE);
      long added = bias == 0 ? 0 : bias + 4L * wide;
      deliver(tile, done, columns - wide, sums, SIDE, added, c + 4L * wide, ldc, accumulate);
    }
  }

  /** Sums that were formed apart, into C, with a bias, or added to it. */
  private static void deliver(
      GemmTile tile,
      int rows,
      int columns,
      long sums,
      long stride,
      long bias,
      long c,
      long ldc,
      boolean accumulate) {
    if (accumulate) {
      tile.addRows(rows, columns, sums, stride, c, ldc);
      return;
    }
    tile.copyRows(rows, columns, sums, stride, c, ldc);
    if (bias != 0) {
      tile.addRows(rows, columns, bias, 0, c, ldc);
    }
  }

  /**
   * How slabs of A are read.
   *
   * @param first address of the first one
   * @param next bytes from one to the next
   * @param row bytes from one row to the next
   * @param steps the table of steps
   */
  private record Left(long first, long next, long row, long steps) {
    static Left inPlace(Matrix a) {
      long row = BYTES * a.rowStride();
      return new Left(a.address(), SIDE * row, row, IN_PLACE);
    }

    Left from(int slab) {
      return new Left(first + slab * next, next, row, steps);
    }
  }

  private static void multiply(
      HalfUnit unit,
      Left left,
      int slabs,
      int k,
      int columns,
      long panels,
      long panelBytes,
      long start,
      long c,
      long ldc) {
    long table = Scratch.get(Scratch.Slot.TABLE, (slabs + 1L) * MatrixUnit.ENTRY_BYTES);
    for (int i = 0; i <= slabs; i++) {
      SplitOperands.entry(table, i, left.first + i * left.next, c + 4 * i * SIDE * ldc);
    }
    unit.multiplyHalves(
        slabs,
        table,
        SplitOperands.steps(k),
        left.steps,
        left.row,
        columns / SIDE,
        panels,
        panelBytes,
        start,
        4 * ldc);
  }

  /**
   * The product of whole slabs with whole panels, over up to {@link #K_BLOCK} elements.
   *
   * @param rows rows; as many as fill the last slab are written
   * @param columns columns; as many as fill the last panel are written
   * @param k the length of the sums
   * @param slabs address of the slabs
   * @param panels address of the panels
   * @param panelBytes from one panel to the next
   * @param c address of {@code C[0, 0]}
   * @param ldc floats between rows of C
   * @param accumulate whether to add to C
   */
  static void multiply(
      HalfUnit unit,
      int rows,
      int columns,
      int k,
      long slabs,
      long panels,
      long panelBytes,
      long c,
      long ldc,
      boolean accumulate) {
    multiply(
        unit,
        rows,
        columns,
        bytes(k),
        SplitOperands.steps(k),
        IN_SLABS,
        slabs,
        panels,
        panelBytes,
        c,
        ldc,
        accumulate);
  }

  /** The same with slabs that are split in two. */
  static void multiplySplitSlabs(
      HalfUnit unit,
      int rows,
      int columns,
      int k,
      long slabs,
      long panels,
      long panelBytes,
      long c,
      long ldc,
      boolean accumulate) {
    multiply(
        unit,
        rows,
        columns,
        splitBytes(k),
        2 * SplitOperands.steps(k),
        SPLIT_SLABS,
        slabs,
        panels,
        panelBytes,
        c,
        ldc,
        accumulate);
  }

  /** The same with panels that are split in two, of {@link #splitBytes}. */
  static void multiplySplitPanels(
      HalfUnit unit,
      int rows,
      int columns,
      int k,
      long slabs,
      long panels,
      long c,
      long ldc,
      boolean accumulate) {
    multiply(
        unit,
        rows,
        columns,
        bytes(k),
        2 * SplitOperands.steps(k),
        SPLIT_PANELS,
        slabs,
        panels,
        splitBytes(k),
        c,
        ldc,
        accumulate);
  }

  private static void multiply(
      HalfUnit unit,
      int rows,
      int columns,
      long slabBytes,
      int steps,
      long stepTable,
      long slabs,
      long panels,
      long panelBytes,
      long c,
      long ldc,
      boolean accumulate) {
    int count = SplitOperands.count(rows);
    long table = Scratch.get(Scratch.Slot.TABLE, (count + 1L) * MatrixUnit.ENTRY_BYTES);
    for (int i = 0; i <= count; i++) {
      SplitOperands.entry(table, i, slabs + i * slabBytes, c + 4 * i * SIDE * ldc);
    }
    unit.multiplyHalves(
        count,
        table,
        steps,
        stepTable,
        ROW_BYTES,
        SplitOperands.count(columns),
        panels,
        panelBytes,
        accumulate ? MatrixUnit.ADD : 0,
        4 * ldc);
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
