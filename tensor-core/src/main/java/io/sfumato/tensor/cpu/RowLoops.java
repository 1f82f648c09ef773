// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Softmax and normalisation of one row of {@code n} consecutive floats. An address of 0 stands for
 * an absent optional operand.
 */
public interface RowLoops {
  /** {@code y = e^(x - max) / Σ e^(x - max)}. */
  void softmax(long x, long y, int n);

  /** {@code dx = y (dy - Σ y dy)}. */
  void softmaxGradient(long y, long dy, long dx, int n);

  /** {@code y = x - max - log Σ e^(x - max)}. */
  void logSoftmax(long x, long y, int n);

  /** {@code log Σ e^x}. */
  float logSumExp(long x, int n);

  /** {@code dx = dy - e^y Σ dy}, y being the logarithms. */
  void logSoftmaxGradient(long y, long dy, long dx, int n);

  /** Mean of the row. */
  double mean(long x, int n);

  /** {@code Σ (x - mean)² - (Σ (x - mean))² / n}: the sum of squared deviations, corrected. */
  double squaredDeviations(long x, int n, float mean);

  /** {@code y = (x - mean) rstd weight + bias}; {@code weight} and {@code bias} both or neither. */
  void normalize(long x, long y, int n, float mean, float rstd, long weight, long bias);

  /**
   * With {@code x̂ = (x - mean) rstd}: {@code columnGain += dy x̂}, {@code columnShift += dy}, and
   * {@code dx = rstd (g - mean(g) - x̂ mean(g x̂))}, {@code g = dy weight}; without {@code centred}
   * the term {@code mean(g)} is left out (RMS norm).
   *
   * @param weight weights or 0
   * @param dx where dx goes, or 0 to skip it
   * @param columnGain n running sums or 0
   * @param columnShift n running sums or 0; absent when {@code columnGain} is
   */
  void normalizeGradient(
      long x,
      long dy,
      long dx,
      int n,
      float mean,
      float rstd,
      long weight,
      boolean centred,
      long columnGain,
      long columnShift);
}
