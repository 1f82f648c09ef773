// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Functions that {@link Math} lacks, for scalar loops: relative error below 1e-7, that is, good to
 * float precision. The polynomials are weighted least-squares (Lawson) fits.
 */
public final class SpecialFunctions {
  /** {@code √(2/π)}. */
  public static final double SQRT_2_OVER_PI = 0.7978845608028654;

  /** {@code 1/√2}. */
  public static final double SQRT_HALF = 0.7071067811865476;

  /** {@code 1/√(2π)}. */
  public static final double INV_SQRT_2PI = 0.3989422804014327;

  /** Cubic coefficient of the tanh form of GELU. */
  public static final double GELU_CUBIC = 0.044715;

  /** {@code erfc(t) e^(t²) = Σ ERFC[i] k^(i+1)} with {@code k = 1 / (1 + t/2)}, t in [0, 10]. */
  private static final float[] ERFC = {
    0.28208640f,
    0.28237534f,
    0.24310361f,
    0.20268756f,
    -0.026627384f,
    0.27806979f,
    -0.48720229f,
    0.28457618f,
    -0.059069216f
  };

  /** {@code erf(x) / x - 1 = Σ ERF[i] x^(2i)} for |x| below 0.94. */
  private static final float[] ERF = {
    0.12837915f, -0.37612465f, 0.11281490f, -0.026754174f, 0.0049743183f, -5.892718e-4f
  };

  private SpecialFunctions() {}

  /** Coefficient {@code i} (0 to 8) of {@code erfc(t) e^(t²) = Σ cᵢ k^(i+1)}, k = 1/(1 + t/2). */
  public static float erfcCoefficient(int i) {
    return ERFC[i];
  }

  /** Coefficient {@code i} (0 to 5) of {@code erf(x)/x - 1 = Σ cᵢ x^(2i)}; |x| below 0.94. */
  public static float erfCoefficient(int i) {
    return ERF[i];
  }

  /** Complementary error function of {@code t >= 0}. */
  public static double erfc(double t) {
    double k = 1 / (1 + 0.5 * t);
    double p = 0;
    for (int i = ERFC.length - 1; i >= 0; i--) {
      p = (p + ERFC[i]) * k;
    }
    return p * Math.exp(-t * t);
  }

  /** The error function. */
  public static double erf(double x) {
    double t = Math.abs(x);
    if (t < 0.9) {
      double s = x * x;
      double p = 0;
      for (int i = ERF.length - 1; i >= 0; i--) {
        p = p * s + ERF[i];
      }
      return x + x * p;
    }
    return Math.copySign(1 - erfc(t), x);
  }

  /** The standard normal distribution function Φ. */
  public static double normalCdf(double x) {
    double tail = 0.5 * erfc(Math.abs(x) * SQRT_HALF);
    return x < 0 ? tail : 1 - tail;
  }

  /** The standard normal density φ. */
  public static double normalDensity(double x) {
    return INV_SQRT_2PI * Math.exp(-0.5 * x * x);
  }

  /** The logistic function. */
  public static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** {@code u(x) = √(2/π) (x + 0.044715 x³)}. */
  public static double geluTanhArgument(double x) {
    return SQRT_2_OVER_PI * x * (1 + GELU_CUBIC * x * x);
  }

  /** {@code 2 u'(x)}. */
  public static double geluTanhSlope(double x) {
    return 2 * SQRT_2_OVER_PI * (1 + 3 * GELU_CUBIC * x * x);
  }
}
