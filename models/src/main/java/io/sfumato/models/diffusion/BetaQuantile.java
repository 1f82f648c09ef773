// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

/** Quantiles of the symmetric Beta distribution. */
final class BetaQuantile {
  private BetaQuantile() {}

  /** The x with I_x(a, a) = p, where I is the regularised incomplete beta function. */
  static double of(double p, double a) {
    if (p <= 0) {
      return 0;
    }
    if (p >= 1) {
      return 1;
    }
    if (p > 0.5) {
      return 1 - of(1 - p, a);
    }
    // Bisection in x^a, in which I is nearly linear near 0, then Newton's steps.
    double low = 0;
    double high = Math.pow(0.5, a);
    for (int i = 0; i < 60; i++) {
      double middle = (low + high) / 2;
      if (distribution(Math.pow(middle, 1 / a), a) < p) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return Math.pow((low + high) / 2, 1 / a);
  }

  /**
   * I_x(a, a) for x ≤ 1/2 by the power series x^a/(a B) · (1 + a Σ_{k≥1} Π_{j≤k} (j - a)/j · x^k/(a
   * + k)).
   */
  private static double distribution(double x, double a) {
    double sum = 1 / a;
    double term = 1;
    for (int k = 1; k < 400; k++) {
      term *= (k - a) / k * x;
      double next = term / (a + k);
      sum += next;
      if (next < sum * 1e-17) {
        break;
      }
    }
    return Math.pow(x, a) * sum / completeBeta(a);
  }

  /** B(a, a) = 2 ∫₀^½ t^{a-1} (1 - t)^{a-1} dt, by the same series. */
  private static double completeBeta(double a) {
    double sum = 1 / a;
    double term = 1;
    for (int k = 1; k < 400; k++) {
      term *= (k - a) / k * 0.5;
      sum += term / (a + k);
    }
    return 2 * Math.pow(0.5, a) * sum;
  }
}
