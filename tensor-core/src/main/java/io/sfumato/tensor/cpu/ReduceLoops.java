// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Reductions of {@code n} consecutive floats, with several accumulators in a fixed order: the same
 * input gives the same result every time. Meant for blocks of some ten thousand elements, whose
 * results the caller adds in double.
 */
public interface ReduceLoops {
  /** Rows of a for {@link #dots}. */
  int DOT_ROWS = 2;

  /** Rows of b. */
  int DOT_COLUMNS = 4;

  /** {@code Σ x}; 0 when {@code n = 0}. */
  double sum(long x, int n);

  /** {@code Σ x²}. */
  double sumOfSquares(long x, int n);

  /** {@code Σ a b}. */
  double dot(long a, long b, int n);

  /**
   * {@code out[4 i + j] = Σ_p a[i, p] b[j, p]} for two rows of a and four of b.
   *
   * @param a address of the first row of a
   * @param aStep bytes from there to the second
   * @param b address of the first row of b
   * @param bStep bytes from one row of b to the next
   * @param n floats of a row
   * @param out receives the eight sums
   */
  void dots(long a, long aStep, long b, long bStep, int n, double[] out);

  /** The largest element; NaN if any is NaN, negative infinity when {@code n = 0}. */
  float max(long x, int n);

  /** The least {@code i >= from} with {@code x[i] >= bound}, or {@code n} if there is none. */
  int firstAtLeast(long x, int from, int n, float bound);

  /** {@code out[j] += Σ_r x[r n + j]} for j in [0, n), over {@code rows} contiguous rows. */
  void addColumns(long x, long out, int rows, int n);

  /** {@code out[at + j] = Σ_r x[r, j]}, summed in double, row after row. */
  void columnTotals(long x, int rows, int n, double[] out, int at);
}
