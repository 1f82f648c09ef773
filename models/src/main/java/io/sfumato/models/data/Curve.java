// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.Arrays;

/**
 * A line to draw.
 *
 * @param x ascending
 * @param y one for each x
 */
@SuppressWarnings("ArrayRecordComponent") // compared by nobody
public record Curve(double[] x, double[] y) {
  /** Checks that there are as many of both. */
  public Curve {
    if (x.length != y.length) {
      throw new IllegalArgumentException(
          "x and y must be equally many; got " + x.length + " and " + y.length);
    }
  }

  /**
   * The exponential moving average, {@code m_i = s * m_(i-1) + (1 - s) * y_i}, divided by {@code 1
   * - s^i}.
   *
   * @param smoothing s, 0 (none) up to, but not, 1
   */
  public Curve smooth(double smoothing) {
    double[] result = new double[y.length];
    double mean = 0;
    double missing = 1;
    for (int i = 0; i < y.length; i++) {
      mean = smoothing * mean + (1 - smoothing) * y[i];
      missing *= smoothing;
      result[i] = mean / (1 - missing);
    }
    return new Curve(x, result);
  }

  /**
   * At most so many points: means of equal runs, if there are more.
   *
   * @param most points
   */
  public Curve thin(int most) {
    int run = (x.length + most - 1) / most;
    if (run <= 1) {
      return this;
    }
    int count = (x.length + run - 1) / run;
    double[] thinX = new double[count];
    double[] thinY = new double[count];
    for (int i = 0; i < count; i++) {
      int end = Math.min(x.length, (i + 1) * run);
      for (int j = i * run; j < end; j++) {
        thinX[i] += x[j] / (end - i * run);
        thinY[i] += y[j] / (end - i * run);
      }
    }
    return new Curve(thinX, thinY);
  }

  /** {@return the least and the largest y; NaN of no points} */
  public double[] range() {
    return new double[] {
      Arrays.stream(y).min().orElse(Double.NaN), Arrays.stream(y).max().orElse(Double.NaN)
    };
  }
}
