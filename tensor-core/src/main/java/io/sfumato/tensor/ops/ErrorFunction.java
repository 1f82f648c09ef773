// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

/**
 * The error function and the normal distribution in double precision (relative error about 1e-15),
 * for references. Series and continued fraction: Abramowitz and Stegun 7.1.6 and 7.1.14.
 */
final class ErrorFunction {
  private static final double TWO_OVER_SQRT_PI = 1.1283791670955126;
  private static final double SQRT_HALF = 0.7071067811865476;
  private static final double INV_SQRT_2PI = 0.3989422804014327;

  private ErrorFunction() {}

  /** {@code erf(x) = 2/√π ∫₀ˣ e^(-t²) dt}. */
  static double erf(double x) {
    double t = Math.abs(x);
    if (t < 2) {
      return series(x);
    }
    return Math.copySign(1 - tail(t), x);
  }

  /** The normal distribution function {@code Φ(x)}. */
  static double normalCdf(double x) {
    double t = Math.abs(x) * SQRT_HALF;
    double upper = t < 2 ? 0.5 * (1 - series(t)) : 0.5 * tail(t);
    return x < 0 ? upper : 1 - upper;
  }

  /** The normal density {@code φ(x)}. */
  static double normalDensity(double x) {
    return INV_SQRT_2PI * Math.exp(-0.5 * x * x);
  }

  /** {@code 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!}: all terms have one sign. NaN for NaN. */
  private static double series(double x) {
    double term = x;
    double sum = x;
    for (int n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= 2 * x * x / (2 * n + 1);
      sum += term;
    }
    return TWO_OVER_SQRT_PI * Math.exp(-x * x) * sum;
  }

  /** {@code 1 - erf(t)} for {@code t >= 2}, by the continued fraction from its far end. */
  private static double tail(double t) {
    if (t > 27) { // below the smallest double
      return 0;
    }
    double f = t;
    for (int n = 60; n >= 1; n--) {
      f = t + n / (2 * f);
    }
    return 0.5 * TWO_OVER_SQRT_PI * Math.exp(-t * t) / f;
  }
}
