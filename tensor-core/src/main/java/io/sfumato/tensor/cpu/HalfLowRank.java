// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.util.List;

/**
 * {@link LowRankKernel} of bfloat16. The narrow factor of each second product, which is a sum, is
 * kept in two parts of bfloat16, {@code h = h1 + h2}, so that no more is lost than by rounding the
 * result; where h is infinite, NaN comes of it. The weight is not changed, for its type would round
 * a small change away.
 */
public final class HalfLowRank {
  private static final DType TYPE = DType.BF16;

  private HalfLowRank() {}

  /** {@code y = x Wᵀ + s (x Aᵀ) Bᵀ (+ bias)}; arguments as those of {@link LowRankKernel}. */
  public static void forward(
      int m,
      int n,
      int k,
      int r,
      Matrix x,
      Matrix w,
      Matrix a,
      Matrix b,
      float scale,
      long bias,
      long y) {
    int width = width(r);
    long space = Scratch.get(Scratch.Slot.LOW_RANK, 4L * m * r + partBytes(m, r) + 2L * n * width);
    long parts = (space + 4L * m * r + 63) & -64;
    long twice = parts + partBytes(m, r) - 64;
    Matrix h = Matrix.rowMajor(space, r);
    Gemm.multiply(1, m, r, k, x, a.transposed(), h, false, 0);
    split(m, r, scale, space, parts);
    Memory.zero(twice, 2L * n * width);
    for (int i = 0; i < n; i++) {
      for (int q = 0; q < r; q++) {
        short value = Memory.getShort(b.at(i, q, 0).address());
        Memory.putShort(twice + 2L * ((long) width * i + q), value);
        Memory.putShort(twice + 2L * ((long) width * i + r + q), value);
      }
    }
    Matrix both = Matrix.rowMajor(parts, width, TYPE);
    Matrix right = Matrix.rowMajor(twice, width, TYPE).transposed();
    List<Term> terms = List.of(new Term(k, x, w.transposed()), new Term(width, both, right));
    Gemm.multiplySum(m, n, terms, Matrix.rowMajor(y, n, TYPE), false, bias);
  }

  /** Elements of a row of parts: those of both, and what a unit fills up. */
  private static int width(int r) {
    return r <= MatrixUnit.SIDE && Loops.tile().unit() != null ? MatrixUnit.DEPTH : 2 * r;
  }

  /** Bytes of rows of parts, with what is written behind the last one, and for their alignment. */
  private static long partBytes(int m, int r) {
    return 2L * m * width(r) + 128;
  }

  /** Rows [m, r] of floats, scaled, as rows of two parts; zeros fill them up. */
  private static void split(int m, int r, float scale, long from, long to) {
    MatrixUnit unit = Loops.tile().unit();
    int width = width(r);
    Parallel.forRange(
        m,
        Loops.rowGrain(width),
        (begin, end, worker) -> {
          ElementwiseLoops loops = Loops.leaf().elementwise();
          long rows = from + 4L * begin * r;
          int count = end - begin;
          loops.binaryRight(BinaryOp.MUL, rows, scale, rows, count * r);
          if (unit == null || width != MatrixUnit.DEPTH) {
            splitEach(count, r, rows, to + 4L * begin * r);
            return;
          }
          // the second part begins in the first part's zeros; what it writes behind its row is
          // written over by the next one, but not behind the last
          long step = 4L * r;
          long part = 2L * r;
          long row = to + (long) begin * MatrixUnit.ROW_BYTES;
          int whole = count - 1;
          if (whole > 0) {
            unit.splitRows(1, whole, rows, 0, step, 0, row, 0, part, r, 0);
          }
          long last = Scratch.get(Scratch.Slot.ROW, 2L * MatrixUnit.ROW_BYTES);
          unit.splitRows(1, 1, rows + whole * step, 0, step, 0, last, 0, part, r, 0);
          Memory.copy(last, row + (long) whole * MatrixUnit.ROW_BYTES, MatrixUnit.ROW_BYTES);
        });
  }

  private static void splitEach(int rows, int r, long from, long to) {
    CastLoops casts = Loops.leaf().casts();
    ElementwiseLoops loops = Loops.leaf().elementwise();
    long wide = Scratch.get(Scratch.Slot.ROW, 4L * r);
    for (int i = 0; i < rows; i++) {
      long row = from + 4L * i * r;
      long first = to + 4L * i * r;
      casts.narrow(TYPE, row, first, r);
      casts.widen(TYPE, first, wide, r);
      loops.binary(BinaryOp.SUB, row, wide, row, r);
      casts.narrow(TYPE, row, first + 2L * r, r);
    }
  }

  /**
   * {@code dA = s (dy B)ᵀ x} and {@code dB = s dyᵀ (x Aᵀ)}; arguments as those of {@link
   * LowRankKernel}.
   */
  public static void gradients(
      int m,
      int n,
      int k,
      int r,
      Matrix dy,
      Matrix x,
      Matrix a,
      Matrix b,
      float scale,
      long da,
      long db) {
    long floats = (long) m * r;
    int wide = Math.max(n, k);
    long space = Scratch.get(Scratch.Slot.LOW_RANK, 4 * floats + partBytes(m, r) + 8L * r * wide);
    long parts = (space + 4 * floats + 63) & -64;
    long sums = parts + partBytes(m, r) - 64;
    Matrix h = Matrix.rowMajor(space, r);
    Matrix both = Matrix.rowMajor(parts, width(r), TYPE);
    Gemm.multiply(1, m, r, n, dy, b, h, false, 0);
    split(m, r, scale, space, parts);
    Gemm.multiply(1, 2 * r, k, m, both.transposed(), x, Matrix.rowMajor(sums, k), false, 0);
    Loops.tile().addRows(1, r * k, sums + 4L * r * k, 0, sums, 0);
    Loops.leaf().casts().narrow(TYPE, sums, da, r * k);
    Gemm.multiply(1, m, r, k, x, a.transposed(), h, false, 0);
    split(m, r, scale, space, parts);
    Gemm.multiply(1, n, 2 * r, m, dy.transposed(), both, Matrix.rowMajor(sums, 2 * r), false, 0);
    for (int i = 0; i < n; i++) {
      long row = sums + 8L * i * r;
      Loops.tile().addRows(1, r, row + 4L * r, 0, row, 0);
      Loops.leaf().casts().narrow(TYPE, row, db + 2L * i * r, r);
    }
  }
}
