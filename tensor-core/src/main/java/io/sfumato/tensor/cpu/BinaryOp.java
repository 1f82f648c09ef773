// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.function.DoubleBinaryOperator;

/**
 * Pointwise functions of two operands. {@link #apply} is the definition, in double precision.
 *
 * <p>On the Vector API a function gives the same bits always: in the interpreter, from either
 * compiler, in vectors of any length and wherever a number stands. {@link #POW} is within 0.55
 * units in the last place of the exact result; all others are rounded correctly.
 */
public enum BinaryOp {
  /** {@code a + b}. */
  ADD((a, b) -> a + b),
  /** {@code a - b}. */
  SUB((a, b) -> a - b),
  /** {@code a b}. */
  MUL((a, b) -> a * b),
  /** {@code a / b}. */
  DIV((a, b) -> a / b),
  /** The larger; NaN if either is NaN. */
  MAX(Math::max),
  /** The smaller; NaN if either is NaN. */
  MIN(Math::min),
  /** {@code a^b}, with the special cases of {@link Math#pow}. */
  POW(Math::pow);

  private final DoubleBinaryOperator function;

  BinaryOp(DoubleBinaryOperator function) {
    this.function = function;
  }

  /** The value of the function at {@code (a, b)}. */
  public double apply(double a, double b) {
    return function.applyAsDouble(a, b);
  }

  /** Whether {@code f(a, b) = f(b, a)}. */
  public boolean isCommutative() {
    return this == ADD || this == MUL || this == MAX || this == MIN;
  }
}
