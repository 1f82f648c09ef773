// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.function.DoubleUnaryOperator;

/**
 * Pointwise functions of one operand. {@link #apply} is the definition, in double precision.
 *
 * <p>On the Vector API a function gives the same bits always: in the interpreter, from either
 * compiler, in vectors of any length and wherever a number stands. {@link #LOG} is within one unit
 * in the last place of the exact result, {@link #EXP} within 1.1, {@link #SIN}, {@link #COS},
 * {@link #TANH} and {@link #SOFTPLUS} within two, for all floats.
 */
public enum UnaryOp {
  /** {@code -x}. */
  NEGATE(x -> -x),
  /** {@code |x|}. */
  ABS(Math::abs),
  /** {@code e^x}. */
  EXP(Math::exp),
  /** Natural logarithm. */
  LOG(Math::log),
  /** Square root. */
  SQRT(Math::sqrt),
  /** {@code 1 / sqrt(x)}. */
  RSQRT(x -> 1 / Math.sqrt(x)),
  /** {@code 1 / x}. */
  RECIPROCAL(x -> 1 / x),
  /** {@code x²}. */
  SQUARE(x -> x * x),
  /** Sine of an angle in radians. */
  SIN(Math::sin),
  /** Cosine of an angle in radians. */
  COS(Math::cos),
  /** Hyperbolic tangent. */
  TANH(Math::tanh),
  /** The error function {@code 2/√π ∫₀ˣ e^(-t²) dt}. */
  ERF(SpecialFunctions::erf),
  /** Logistic function {@code σ(x) = 1 / (1 + e^(-x))}. */
  SIGMOID(SpecialFunctions::sigmoid),
  /** {@code x σ(x)}, also called swish (Ramachandran et al. 2017). */
  SILU(x -> x * SpecialFunctions.sigmoid(x)),
  /** {@code x Φ(x)}, Φ the normal distribution function (Hendrycks and Gimpel 2016). */
  GELU(x -> x * SpecialFunctions.normalCdf(x)),
  /** {@code x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))}, the tanh form of {@link #GELU}. */
  GELU_TANH(x -> x * SpecialFunctions.sigmoid(2 * SpecialFunctions.geluTanhArgument(x))),
  /** {@code max(x, 0)}; NaN stays NaN. */
  RELU(x -> Math.max(x, 0.0)),
  /** {@code log(1 + e^x)}, without overflow. */
  SOFTPLUS(x -> Math.max(x, 0.0) + Math.log1p(Math.exp(-Math.abs(x)))),
  /** -1, 0 or 1 by the sign of x, as {@link Math#signum(double)}. */
  SIGN(Math::signum),
  /** The largest integer not above x. */
  FLOOR(Math::floor),
  /** The smallest integer not below x. */
  CEIL(Math::ceil),
  /** The nearest integer; halves go to the even one. */
  ROUND(Math::rint);

  private final DoubleUnaryOperator function;

  UnaryOp(DoubleUnaryOperator function) {
    this.function = function;
  }

  /** The value of the function at {@code x}. */
  public double apply(double x) {
    return function.applyAsDouble(x);
  }
}
