// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.Arrays;
import java.util.Collection;

/** Arithmetic on measured values, all positive. */
final class Samples {
  private Samples() {}

  /** The middle value, or the mean of the two in the middle. */
  static double median(Collection<Double> values) {
    double[] sorted = sorted(values);
    int n = sorted.length;
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }

  /** The least value. */
  static double least(Collection<Double> values) {
    return sorted(values)[0];
  }

  /** The greatest value. */
  static double greatest(Collection<Double> values) {
    double[] sorted = sorted(values);
    return sorted[sorted.length - 1];
  }

  /** The n-th root of the product of n values. */
  static double geometricMean(Collection<Double> values) {
    return Math.exp(Arrays.stream(sorted(values)).map(Math::log).average().orElseThrow());
  }

  private static double[] sorted(Collection<Double> values) {
    if (values.isEmpty()) {
      throw new IllegalArgumentException("there are no values");
    }
    return values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
  }
}
