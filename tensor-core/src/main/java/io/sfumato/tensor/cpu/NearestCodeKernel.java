// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.util.List;

/**
 * The nearest of many codes for each of many vectors, in f32: {@code argmin |x - c_k|² = argmax (x
 * · c_k - |c_k|² / 2)}.
 *
 * <p>A worker takes a block of vectors, whose scores for all codes stay in its cache: one matrix
 * product, then the largest score of each row. Codes whose score is so close to the largest that
 * rounding may have exchanged them are compared once more, by their distances in f64; so the result
 * is that of exact arithmetic on the f32 values, ties included.
 */
public final class NearestCodeKernel {
  /** Scores of one block of vectors. */
  private static final int BLOCK = 1 << 17;

  private static final int LEAST_ROWS = 8;
  private static final int MOST_ROWS = 64;

  /** The largest relative error of rounding to f32. */
  private static final double UNIT = 0x1p-24;

  private NearestCodeKernel() {}

  /**
   * Writes the number of the nearest code of each vector.
   *
   * @param m the number of vectors
   * @param codes the number of codes, positive
   * @param d the length of vectors and codes, positive
   * @param x the vectors [m, d], rows contiguous
   * @param codebook address of the codes [codes, d], row-major
   * @param out address of m 64-bit results
   */
  public static void run(int m, int codes, int d, Matrix x, long codebook, long out) {
    GemmTile tile = Loops.tile();
    long packed = Panels.floats(tile, d, codes);
    long panels = Scratch.get(Scratch.Slot.CODES, 4 * (packed + Panels.width(tile, codes)));
    long bias = panels + 4 * packed;
    Matrix right = Matrix.rowMajor(codebook, d).transposed();
    Panels.packAll(tile, d, codes, right, panels);
    double largest = minusHalfSquares(codes, d, codebook, bias);
    int block = Math.clamp(BLOCK / codes, LEAST_ROWS, MOST_ROWS);
    Parallel.forRange(
        (m + block - 1) / block,
        1,
        (begin, end, worker) -> {
          long scores = Scratch.get(Scratch.Slot.ROW, 4L * block * codes);
          for (int i = begin; i < end; i++) {
            int rows = Math.min(block, m - i * block);
            Matrix some = x.at((long) i * block, 0, 0);
            List<Term> product = List.of(new Term(d, some, right, panels));
            Gemm.multiplySum(
                tile, rows, codes, product, Matrix.rowMajor(scores, codes), false, bias);
            for (int row = 0; row < rows; row++) {
              long vector = some.address() + 4 * row * some.rowStride();
              int best = best(scores + 4L * row * codes, codes, d, vector, codebook, largest);
              Memory.putLong(out + 8 * ((long) i * block + row), best);
            }
          }
        });
  }

  /** Writes {@code -|c|² / 2}, and returns the largest {@code |c|²}. */
  private static double minusHalfSquares(int codes, int d, long codebook, long to) {
    double largest = 0;
    for (int k = 0; k < codes; k++) {
      double squares = 0;
      for (int p = 0; p < d; p++) {
        double c = Memory.getFloat(codebook + 4 * ((long) k * d + p));
        squares += c * c;
      }
      Memory.putFloat(to + 4L * k, (float) (-0.5 * squares));
      largest = Math.max(largest, squares);
    }
    return largest;
  }

  private static int best(long scores, int codes, int d, long x, long codebook, double largest) {
    ReduceLoops loops = Loops.leaf().reduce();
    float most = loops.max(scores, codes);
    if (Float.isNaN(most) || Float.isInfinite(most)) {
      return nearest(scores, codes, d, x, codebook, Float.NaN);
    }
    double length = Math.sqrt(loops.sumOfSquares(x, d) * largest);
    double error = 1.01 * UNIT * (d + 2) * (length + largest / 2) + Float.MIN_NORMAL;
    float bound = Math.nextDown((float) (most - 2 * error));
    int first = loops.firstAtLeast(scores, 0, codes, bound);
    return loops.firstAtLeast(scores, first + 1, codes, bound) == codes
        ? first
        : nearest(scores, codes, d, x, codebook, bound);
  }

  /** The nearest code among those of a score of at least {@code bound}; among all if it is NaN. */
  private static int nearest(long scores, int codes, int d, long x, long codebook, float bound) {
    ReduceLoops loops = Loops.leaf().reduce();
    boolean all = Float.isNaN(bound);
    double least = Double.POSITIVE_INFINITY;
    int best = 0;
    int k = all ? 0 : loops.firstAtLeast(scores, 0, codes, bound);
    while (k < codes) {
      double distance = 0;
      long c = codebook + 4 * (long) k * d;
      for (int p = 0; p < d; p++) {
        double difference = (double) Memory.getFloat(x + 4L * p) - Memory.getFloat(c + 4L * p);
        distance += difference * difference;
      }
      if (distance < least) {
        least = distance;
        best = k;
      }
      k = all ? k + 1 : loops.firstAtLeast(scores, k + 1, codes, bound);
    }
    return best;
  }
}
