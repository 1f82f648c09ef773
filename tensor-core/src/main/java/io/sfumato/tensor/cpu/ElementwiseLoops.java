// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Pointwise loops over {@code n} consecutive floats. Results may overwrite operands element by
 * element (equal addresses); partial overlap is not allowed.
 */
public interface ElementwiseLoops {
  /** {@code y = op(x)}. */
  void unary(UnaryOp op, long x, long y, int n);

  /** {@code dx = dy f'(kept)}. */
  void gradient(UnaryGradient op, long kept, long dy, long dx, int n);

  /** {@code y = a op b}. */
  void binary(BinaryOp op, long a, long b, long y, int n);

  /** {@code y = a op s}. */
  void binaryRight(BinaryOp op, long a, float s, long y, int n);

  /** {@code y = s op a}. */
  void binaryLeft(BinaryOp op, float s, long a, long y, int n);

  /** {@code y = x} where x is positive, else {@code slope x}. */
  void leakyRelu(float slope, long x, long y, int n);

  /** {@code dx = dy} where x is positive, else {@code slope dy}. */
  void leakyReluGradient(float slope, long x, long dy, long dx, int n);

  /** {@code y = a + b c}, rounded once. */
  void multiplyAdd(long a, long b, long c, long y, int n);

  /** {@code y = alpha a + beta b}. */
  void axpby(float alpha, long a, float beta, long b, long y, int n);

  /** {@code y = scale (a + b + c + d)}, the 2x2 cell sum of resampling. */
  void sumOfFour(float scale, long a, long b, long c, long d, long y, int n);

  /** {@code y = value}. */
  void fill(float value, long y, int n);

  /** {@code y = scale e^(x + shift)}. */
  void shiftedExp(float shift, float scale, long x, long y, int n);
}
