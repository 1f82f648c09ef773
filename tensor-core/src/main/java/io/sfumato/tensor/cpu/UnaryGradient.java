// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.function.DoubleUnaryOperator;

/**
 * Derivatives of pointwise functions that are worth a loop of their own: {@code dx = dy f'}. {@code
 * f'} is a function of what the forward pass kept, the input x or the output y.
 */
public enum UnaryGradient {
  /** {@code σ(x)(1 + x(1 - σ(x)))} from x. */
  SILU(
      x -> {
        double s = SpecialFunctions.sigmoid(x);
        return s * (1 + x * (1 - s));
      }),
  /** {@code Φ(x) + x φ(x)} from x. */
  GELU(x -> SpecialFunctions.normalCdf(x) + x * SpecialFunctions.normalDensity(x)),
  /** Derivative of {@link UnaryOp#GELU_TANH} from x. */
  GELU_TANH(
      x -> {
        double s = SpecialFunctions.sigmoid(2 * SpecialFunctions.geluTanhArgument(x));
        return s * (1 + x * (1 - s) * SpecialFunctions.geluTanhSlope(x));
      }),
  /** 1 where x is positive, else 0, from x. */
  RELU(x -> x > 0 ? 1 : 0),
  /** {@code y(1 - y)} from y. */
  SIGMOID(y -> y * (1 - y)),
  /** {@code 1 - y²} from y. */
  TANH(y -> 1 - y * y),
  /** {@code σ(x)} from x. */
  SOFTPLUS(SpecialFunctions::sigmoid);

  private final DoubleUnaryOperator function;

  UnaryGradient(DoubleUnaryOperator function) {
    this.function = function;
  }

  /** The derivative, given the kept input or output. */
  public double derivative(double kept) {
    return function.applyAsDouble(kept);
  }
}
