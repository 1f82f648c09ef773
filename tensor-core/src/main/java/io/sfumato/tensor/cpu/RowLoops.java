// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Softmax and normalisation of rows of {@code n} consecutive floats; {@code rows} of them follow
 * each other, and the results of one do not depend on its neighbours. An address of 0 stands for an
 * absent optional operand.
 */
public interface RowLoops {
  /** {@code y = e^(x - max) / Σ e^(x - max)} of each row. */
  void softmax(long x, long y, int rows, int n);

  /** {@code dx = y (dy - Σ y dy)} of each row. */
  void softmaxGradient(long y, long dy, long dx, int rows, int n);

  /** {@code y = x - max - log Σ e^(x - max)} of each row. */
  void logSoftmax(long x, long y, int rows, int n);

  /** {@code dx = dy - e^y Σ dy} of each row, y being the logarithms. */
  void logSoftmaxGradient(long y, long dy, long dx, int rows, int n);

  /** {@code log Σ e^x} of one row. */
  float logSumExp(long x, int n);

  /** Mean of one row. */
  double mean(long x, int n);

  /**
   * Of one row, {@code Σ (x - mean)² - (Σ (x - mean))² / n}: the sum of squared deviations,
   * corrected.
   */
  double squaredDeviations(long x, int n, float mean);

  /** The most rows that {@link #moments} and {@link #normalize} take at once. */
  int GROUP = 4;

  /**
   * Mean and {@code Σ (x - mean)²} of each of up to {@link #GROUP} rows that follow each other; a
   * row's results do not depend on its neighbours.
   *
   * @param out mean and sum of row 0, then of row 1, and so on; written
   */
  void moments(long x, int rows, int n, double[] out);

  /**
   * {@code y = (x - mean) rstd weight + bias} of up to {@link #GROUP} rows; {@code weight} and
   * {@code bias} both or neither.
   *
   * @param stats mean and rstd of row 0, then of row 1, and so on
   */
  void normalize(long x, long y, int rows, int n, float[] stats, long weight, long bias);

  /**
   * {@code y = (x - mean) rstd weight + bias}, {@code rstd = 1 / sqrt(variance + epsilon)}; {@code
   * weight} and {@code bias} both or neither.
   *
   * @param rows any number of them
   * @param mean means of the rows, written
   * @param rstd factors of the rows, written
   */
  default void layerNorm(
      long x,
      long y,
      int rows,
      int n,
      long mean,
      long rstd,
      double epsilon,
      long weight,
      long bias) {
    double[] moments = new double[2 * GROUP];
    float[] stats = new float[2 * GROUP];
    for (int r = 0; r < rows; r += GROUP) {
      int k = Math.min(GROUP, rows - r);
      long at = r * 4L * n;
      moments(x + at, k, n, moments);
      for (int i = 0; i < k; i++) {
        stats[2 * i] = (float) moments[2 * i];
        double variance = moments[2 * i + 1] / n;
        stats[2 * i + 1] = (float) (1 / Math.sqrt(variance + epsilon));
        Memory.putFloat(mean + (r + i) * 4L, stats[2 * i]);
        Memory.putFloat(rstd + (r + i) * 4L, stats[2 * i + 1]);
      }
      normalize(x + at, y + at, k, n, stats, weight, bias);
    }
  }

  /**
   * With {@code x̂ = (x - mean) rstd}, row by row: {@code columnGain += dy x̂}, {@code columnShift
   * += dy}, and {@code dx = rstd (g - mean(g) - x̂ mean(g x̂))}, {@code g = dy weight}; without
   * {@code centred} the term {@code mean(g)} is left out (RMS norm).
   *
   * @param rows any number of them
   * @param mean means of the rows, or 0 if they are all 0
   * @param rstd factors of the rows
   * @param weight weights
   * @param dx where dx goes
   * @param columnGain n running sums
   * @param columnShift n running sums
   */
  void normalizeGradient(
      long x,
      long dy,
      long dx,
      int rows,
      int n,
      long mean,
      long rstd,
      long weight,
      boolean centred,
      long columnGain,
      long columnShift);
}
