// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.util.List;

/**
 * {@link LowRankKernel} of bfloat16. The narrow factor of each second product, which is a sum, is
 * kept in two parts of bfloat16, {@code h = h1 + h2}, so that no more is lost than by rounding the
 * result; the weight is not changed, for its type would round a small change away.
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
    long space = Scratch.get(Scratch.Slot.LOW_RANK, 4L * m * r + 4L * m * r + 4L * n * r);
    long parts = space + 4L * m * r;
    long twice = parts + 4L * m * r;
    Matrix h = Matrix.rowMajor(space, r);
    Gemm.multiply(1, m, r, k, x, a.transposed(), h, false, 0);
    split(m, r, scale, space, parts);
    for (int i = 0; i < n; i++) {
      for (int q = 0; q < r; q++) {
        short value = Memory.getShort(b.at(i, q, 0).address());
        Memory.putShort(twice + 2L * (2 * r * (long) i + q), value);
        Memory.putShort(twice + 2L * (2 * r * (long) i + r + q), value);
      }
    }
    List<Term> terms =
        List.of(
            new Term(k, x, w.transposed()),
            new Term(
                2 * r,
                Matrix.rowMajor(parts, 2 * r, TYPE),
                Matrix.rowMajor(twice, 2 * r, TYPE).transposed()));
    Gemm.multiplySum(m, n, terms, Matrix.rowMajor(y, n, TYPE), false, bias);
  }

  /** Rows [m, r] of floats, scaled, as two parts [m, 2 r]. */
  private static void split(int m, int r, float scale, long from, long to) {
    Parallel.forRange(
        m,
        Loops.rowGrain(r),
        (begin, end, worker) -> {
          CastLoops casts = Loops.leaf().casts();
          ElementwiseLoops loops = Loops.leaf().elementwise();
          long wide = Scratch.get(Scratch.Slot.ROW, 4L * r);
          for (int i = begin; i < end; i++) {
            long row = from + 4L * i * r;
            long first = to + 4L * i * r;
            loops.binaryRight(BinaryOp.MUL, row, scale, row, r);
            casts.narrow(TYPE, row, first, r);
            casts.widen(TYPE, first, wide, r);
            loops.binary(BinaryOp.SUB, row, wide, row, r);
            casts.narrow(TYPE, row, first + 2L * r, r);
          }
        });
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
    long space = Scratch.get(Scratch.Slot.LOW_RANK, 8 * floats + 8L * r * wide);
    long parts = space + 4 * floats;
    long sums = parts + 4 * floats;
    Matrix h = Matrix.rowMajor(space, r);
    Matrix both = Matrix.rowMajor(parts, 2 * r, TYPE);
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
