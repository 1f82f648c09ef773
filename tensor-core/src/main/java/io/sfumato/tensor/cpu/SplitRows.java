// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** Operands of attention on a {@link MatrixUnit}: rows of a head, split in the ways it takes. */
final class SplitRows {
  private static final int SIDE = SplitOperands.SIDE;
  private static final int BLOCK = SplitOperands.K_BLOCK;

  final GemmTile tile = Loops.tile();
  final MatrixUnit unit;
  final int dim;

  /** Head size rounded up to whole panels. */
  final int width;

  SplitRows(MatrixUnit unit, int dim) {
    this.unit = unit;
    this.dim = dim;
    width = SplitOperands.count(dim) * SIDE;
  }

  /** Bytes of {@code n} rows, rounded up to whole ones, as operands summed over the head size. */
  long rowBytes(int n) {
    return SplitOperands.count(n) * SplitOperands.bytes(dim);
  }

  /** Bytes of {@code n} rows as operands summed over {@code block} rows at a time. */
  long blockBytes(int n, int block) {
    return SplitOperands.count(dim) * SplitOperands.cutBytes(n, block);
  }

  /**
   * Splits rows as left operands, summed over their length.
   *
   * @return whether all values could be split
   */
  boolean left(long from, long rowStride, int rows, int length, long to) {
    long bytes = SplitOperands.bytes(length);
    boolean fit = true;
    for (int r = 0; r < rows; r += SIDE) {
      int some = Math.min(SIDE, rows - r);
      long slab = to + r / SIDE * bytes;
      long row = from + r * rowStride * 4;
      SplitOperands.slab(tile, unit, some, length, row, rowStride, 1, slab);
      fit &= !SplitOperands.isUnfit(slab);
    }
    return fit;
  }

  /** Splits rows as left operands, summed over {@code block} rows, whatever their values are. */
  void leftTransposed(long from, long rowStride, int rows, int block, long to) {
    for (int r = 0; r < rows; r += block) {
      int n = Math.min(block, rows - r);
      long at = to + blockBytes(r, block);
      for (int d = 0; d < dim; d += SIDE) {
        long piece = from + r * rowStride * 4 + 4L * d;
        long slab = at + d / SIDE * SplitOperands.bytes(n);
        SplitOperands.slab(tile, unit, Math.min(SIDE, dim - d), n, piece, 1, rowStride, slab);
      }
    }
  }

  /**
   * Splits rows as right operands, summed over {@code block} rows.
   *
   * @return whether all values could be split
   */
  boolean right(long from, long rowStride, int rows, int block, long to) {
    int panels = SplitOperands.count(dim);
    boolean fit = true;
    for (int r = 0; r < rows; r += block) {
      int n = Math.min(block, rows - r);
      long at = to + blockBytes(r, block);
      Gemm.Matrix piece = new Gemm.Matrix(from + r * rowStride * 4, rowStride, 1, 0);
      SplitOperands.panels(tile, unit, n, dim, 0, panels, piece, at);
      fit &= SplitOperands.areFit(n, panels, at);
    }
    return fit;
  }

  /**
   * Splits rows, scaled, as right operands, summed over the head size.
   *
   * @return whether all values could be split
   */
  boolean rightTransposed(long from, long rowStride, int rows, float scale, long to) {
    boolean fit = true;
    for (int r = 0; r < rows; r += BLOCK) {
      int n = Math.min(BLOCK, rows - r);
      long dense = Scratch.get(Scratch.Slot.PACKED_B, 4L * dim * BLOCK);
      Panels.transpose(tile, dim, n, scale, from + r * rowStride * 4, 1, rowStride, dense, n);
      int panels = SplitOperands.count(n);
      long at = to + rowBytes(r);
      SplitOperands.panels(tile, unit, dim, n, 0, panels, Gemm.Matrix.rowMajor(dense, n), at);
      fit &= SplitOperands.areFit(dim, panels, at);
    }
    return fit;
  }

  /** See {@link SplitOperands#multiply}. */
  void multiply(
      int rows,
      int columns,
      int k,
      long left,
      long right,
      long panelBytes,
      long c,
      long ldc,
      boolean add) {
    SplitOperands.multiply(tile, unit, rows, columns, k, left, right, panelBytes, 0, c, ldc, add);
  }
}
