// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.util.List;

/**
 * Products with a coded weight in f32: it is decoded straight into the panels that the tiles read,
 * a few megabytes at a time, and never lies whole in memory. Results are the bits of {@link Gemm}
 * on the decoded weight cut into the same columns, for any number of threads.
 */
public final class QuantizedGemm {
  /** Elements of a row of the weight that are decoded before they are transposed. */
  private static final int PIECE = 256;

  private QuantizedGemm() {}

  /**
   * {@code C = A Wᵀ (+ bias)} or {@code C = A W (+ bias)}.
   *
   * @param m rows of A and C
   * @param n columns of C
   * @param k columns of A
   * @param a the left operand
   * @param w the weight, [n, k], or [k, n] for the adjoint
   * @param adjoint whether A is multiplied with W instead of Wᵀ
   * @param c the result; its columns are contiguous
   * @param bias address of {@code n} floats added to each row of the result, or 0 for none
   */
  public static void multiply(
      int m, int n, int k, Matrix a, CodedWeight w, boolean adjoint, Matrix c, long bias) {
    GemmTile tile = Loops.tile();
    int full = Panels.fullWidth(tile);
    int columns =
        (int) Math.clamp(Gemm.MAX_PACKED / Math.max(1, k) / full * full, full, Math.max(n, full));
    Matrix nowhere = new Matrix(0, n, 1, 0);
    for (int first = 0; first < n; first += columns) {
      int count = Math.min(columns, n - first);
      int start = first;
      long panels = Scratch.get(Scratch.Slot.WEIGHTS, 4 * Panels.floats(tile, k, count));
      Parallel.forRange(
          Panels.count(tile, count),
          1,
          (begin, end, worker) -> {
            for (int p = begin; p < end; p++) {
              int j = p * full;
              int width = Math.min(full, count - j);
              long to = panels + 4L * j * k;
              if (adjoint) {
                packRows(tile, k, n, start + j, width, w, to);
              } else {
                packColumns(tile, k, start + j, width, w, to);
              }
            }
          });
      List<Term> product = List.of(new Term(k, a, nowhere, panels));
      Gemm.multiplySum(
          tile, m, count, product, c.at(0, first, 0), false, bias == 0 ? 0 : bias + 4L * first);
    }
  }

  /** A panel whose columns are rows {@code j} and on of W. */
  private static void packColumns(
      GemmTile tile, int k, int j, int columns, CodedWeight w, long panel) {
    int width = Panels.width(tile, columns);
    long piece = Scratch.get(Scratch.Slot.ROW, 4L * PIECE * columns);
    for (int p = 0; p < k; p += PIECE) {
      int length = Math.min(PIECE, k - p);
      for (int i = 0; i < columns; i++) {
        w.decode((long) (j + i) * k + p, length, piece + 4L * i * length);
      }
      Panels.pack(tile, length, columns, piece, 1, length, panel + 4L * p * width);
    }
  }

  /** A panel of columns {@code j} and on of W [k, n]. */
  private static void packRows(
      GemmTile tile, int k, int n, int j, int columns, CodedWeight w, long panel) {
    int width = Panels.width(tile, columns);
    for (int p = 0; p < k; p++) {
      long row = panel + 4L * p * width;
      w.decode((long) p * n + j, columns, row);
      if (columns < width) {
        Memory.zero(row + 4L * columns, 4L * (width - columns));
      }
    }
  }
}
