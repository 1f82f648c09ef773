// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/** Products of {@link HalfOperands} on a {@link HalfUnit}. */
final class HalfProducts {
  private static final int SIDE = MatrixUnit.SIDE;
  private static final int DEPTH = MatrixUnit.DEPTH;
  private static final int ROW_BYTES = MatrixUnit.ROW_BYTES;
  private static final int TILE_BYTES = MatrixUnit.TILE_BYTES;
  private static final int BYTES = Short.BYTES;

  private static final int STEPS = HalfOperands.K_BLOCK / DEPTH;

  /** The tables of steps, for A as it lies and in slabs. */
  private static final long IN_PLACE =
      SplitOperands.table(STEPS, i -> (long) i * ROW_BYTES, HalfProducts::tile);

  static final long IN_SLABS = SplitOperands.table(STEPS, HalfProducts::tile, HalfProducts::tile);

  /** Those for slabs, or panels, of which a product has two parts. */
  private static final long SPLIT_SLABS =
      SplitOperands.table(2 * STEPS, HalfProducts::tile, i -> tile(i / 2));

  private static final long SPLIT_PANELS =
      SplitOperands.table(2 * STEPS, i -> tile(i / 2), HalfProducts::tile);

  private HalfProducts() {}

  private static long tile(int i) {
    return (long) i * TILE_BYTES;
  }

  /**
   * The product of a block of rows with panels side by side, over up to {@link
   * HalfOperands#K_BLOCK} elements.
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
    boolean inPlace = HalfOperands.inPlace(a, k);
    int whole = rows / SIDE;
    int slabs = SplitOperands.count(rows);
    int packed = inPlace ? whole * SIDE : 0; // the first row that is
    long slabBytes = HalfOperands.bytes(k);
    long block = Scratch.get(Scratch.Slot.PACKED_A, slabs * slabBytes);
    if (packed < rows) {
      long to = block + packed / SIDE * slabBytes;
      HalfOperands.slabs(unit, rows - packed, k, a.at(packed, 0, 0), to);
    }
    int wide = columns / SIDE * SIDE;
    long start = accumulate ? MatrixUnit.ADD : bias;
    Left left = inPlace ? Left.inPlace(a) : new Left(block, slabBytes, ROW_BYTES, IN_SLABS);
    Left last =
        inPlace ? new Left(block + whole * slabBytes, 0, ROW_BYTES, IN_SLABS) : left.from(whole);
    int done = whole * SIDE;
    int steps = SplitOperands.steps(k);
    if (whole > 0 && wide > 0) {
      multiply(unit, left, whole, steps, wide, panels, panelBytes, start, c, ldc);
    }
    if (done < rows) { // all columns of the last slab
      int padded = SplitOperands.count(columns) * SIDE;
      long sums = Scratch.get(Scratch.Slot.SUMS, 4L * SIDE * padded);
      multiply(unit, last, 1, steps, padded, panels, panelBytes, 0, sums, padded);
      tile.deliver(rows - done, columns, sums, padded, bias, c + 4 * done * ldc, ldc, accumulate);
    }
    if (whole > 0 && wide < columns) { // the last columns of all other slabs
      long sums = Scratch.get(Scratch.Slot.SUMS, 4L * done * SIDE);
      long panel = panels + wide / SIDE * panelBytes;
      multiply(unit, left, whole, steps, SIDE, panel, panelBytes, 0, sums, SIDE);
      long added = bias == 0 ? 0 : bias + 4L * wide;
      tile.deliver(done, columns - wide, sums, SIDE, added, c + 4L * wide, ldc, accumulate);
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
      int steps,
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
        steps,
        left.steps,
        left.row,
        columns / SIDE,
        panels,
        panelBytes,
        start,
        4 * ldc);
  }

  private static void multiply(
      HalfUnit unit,
      Left left,
      int rows,
      int steps,
      int columns,
      long panels,
      long panelBytes,
      long c,
      long ldc,
      boolean accumulate) {
    int slabs = SplitOperands.count(rows);
    int wide = SplitOperands.count(columns) * SIDE;
    long start = accumulate ? MatrixUnit.ADD : 0;
    multiply(unit, left, slabs, steps, wide, panels, panelBytes, start, c, ldc);
  }

  /**
   * The product of whole slabs with whole panels, over up to {@link HalfOperands#K_BLOCK} elements.
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
    Left left = new Left(slabs, HalfOperands.bytes(k), ROW_BYTES, IN_SLABS);
    multiply(
        unit, left, rows, SplitOperands.steps(k), columns, panels, panelBytes, c, ldc, accumulate);
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
    Left left = new Left(slabs, HalfOperands.splitBytes(k), ROW_BYTES, SPLIT_SLABS);
    int steps = 2 * SplitOperands.steps(k);
    multiply(unit, left, rows, steps, columns, panels, panelBytes, c, ldc, accumulate);
  }

  /** The same with panels that are split in two, of {@link HalfOperands#splitBytes}. */
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
    Left left = new Left(slabs, HalfOperands.bytes(k), ROW_BYTES, SPLIT_PANELS);
    int steps = 2 * SplitOperands.steps(k);
    long panelBytes = HalfOperands.splitBytes(k);
    multiply(unit, left, rows, steps, columns, panels, panelBytes, c, ldc, accumulate);
  }
}
