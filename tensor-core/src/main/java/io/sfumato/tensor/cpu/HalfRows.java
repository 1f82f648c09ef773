// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;

/** Operands of attention in bfloat16: rows of a head, rearranged in the ways a unit takes. */
final class HalfRows {
  private static final int SIDE = MatrixUnit.SIDE;

  /** Elements of keys that are scaled at a time. */
  private static final int SCALED = 2048;

  final HalfUnit unit;
  final int dim;
  private final AttentionLoops loops = Loops.leaf().attention();
  private final CastLoops casts = Loops.leaf().casts();

  /** Head size rounded up to whole panels. */
  final int width;

  /** The factor on scores: keys take it where that rounds nothing, else the scores do. */
  private final float keyScale;

  private final float scoreScale;

  HalfRows(HalfUnit unit, int dim, float scale) {
    this.unit = unit;
    this.dim = dim;
    width = SplitOperands.count(dim) * SIDE;
    keyScale = isPowerOfTwo(scale) ? scale : 1;
    scoreScale = scale / keyScale;
  }

  private static boolean isPowerOfTwo(float x) {
    return x > 0 && Float.isFinite(x) && Math.scalb(1f, Math.getExponent(x)) == x;
  }

  /** Bytes of {@code n} rows, rounded up to whole ones, as operands summed over the head size. */
  long rowBytes(int n) {
    return SplitOperands.count(n) * HalfOperands.bytes(dim);
  }

  /** Bytes of {@code n} rows as operands summed over them, some at a time. */
  long blockBytes(int n) {
    return SplitOperands.count(dim) * HalfOperands.bytes(n);
  }

  private static Gemm.Matrix rows(long from, Matrix m) {
    return new Gemm.Matrix(from, m.rowStride(), 1, 0, DType.BF16);
  }

  /** Rows as left operands, summed over their length. */
  void left(long from, Matrix m, int rows, long to) {
    HalfOperands.slabs(unit, rows, dim, rows(from, m), to);
  }

  /** Rows as left operands, summed over {@code block} rows. */
  void leftTransposed(long from, Matrix m, int rows, int block, long to) {
    for (int r = 0; r < rows; r += block) {
      Gemm.Matrix piece = rows(from, m).at(r, 0, 0).transposed();
      HalfOperands.slabs(unit, dim, Math.min(block, rows - r), piece, to + blockBytes(r));
    }
  }

  /** Rows as right operands, summed over {@code block} rows. */
  void right(long from, Matrix m, int rows, int block, long to) {
    int panels = SplitOperands.count(dim);
    for (int r = 0; r < rows; r += block) {
      Gemm.Matrix piece = rows(from, m).at(r, 0, 0);
      int n = Math.min(block, rows - r);
      HalfOperands.panels(unit, n, dim, 0, panels, piece, to + blockBytes(r));
    }
  }

  /** Rows as right operands, summed over their length. */
  void rightTransposed(long from, Matrix m, int rows, long to) {
    Gemm.Matrix columns = rows(from, m).transposed();
    HalfOperands.panels(unit, dim, rows, 0, SplitOperands.count(rows), columns, to);
  }

  /** Keys as right operands, summed over their length, with their part of the scale. */
  void keys(long from, Matrix m, int rows, long to) {
    rightTransposed(from, m, rows, to);
    int n = (int) (rowBytes(rows) / Short.BYTES);
    for (int i = 0; i < n && keyScale != 1; i += SCALED) {
      int some = Math.min(SCALED, n - i);
      long at = to + (long) Short.BYTES * i;
      long floats = Scratch.get(Scratch.Slot.ROW, 4L * some);
      casts.widen(DType.BF16, at, floats, some);
      loops.scale(floats, floats, some, keyScale);
      casts.narrow(DType.BF16, floats, at, some);
    }
  }

  /**
   * Scores of queries as left operands with {@link #keys}.
   *
   * @param to address of the result
   * @param stride floats from one row of the result to the next
   */
  void scores(int rows, int n, long left, long right, long to, long stride) {
    products(rows, n, left, right, to, stride);
    for (int r = 0; r < rows && scoreScale != 1; r++) {
      long row = to + 4 * r * stride;
      loops.scale(row, row, n, scoreScale);
    }
  }

  /** Products of rows as left operands with rows as right operands, summed over their length. */
  void products(int rows, int n, long left, long right, long to, long stride) {
    HalfProducts.multiply(
        unit, rows, n, dim, left, right, HalfOperands.bytes(dim), to, stride, false);
  }
}
