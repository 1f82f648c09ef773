// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;

/**
 * Conversions of {@code n} consecutive elements. Narrowing rounds to nearest, ties to even,
 * overflow goes to infinity, NaN stays NaN. Source and destination must not overlap.
 */
public interface CastLoops {
  /** float32 to bfloat16. */
  void floatToBfloat16(long from, long to, int n);

  /** bfloat16 to float32. */
  void bfloat16ToFloat(long from, long to, int n);

  /** float32 to IEEE binary16. */
  void floatToFloat16(long from, long to, int n);

  /** IEEE binary16 to float32. */
  void float16ToFloat(long from, long to, int n);

  /**
   * A type of 16 bits to float32.
   *
   * @throws IllegalArgumentException if the type is another one
   */
  default void widen(DType type, long from, long to, int n) {
    switch (type) {
      case BF16 -> bfloat16ToFloat(from, to, n);
      case F16 -> float16ToFloat(from, to, n);
      default -> throw new IllegalArgumentException("needs bf16 or f16; got " + type);
    }
  }

  /**
   * float32 to a type of 16 bits.
   *
   * @throws IllegalArgumentException if the type is another one
   */
  default void narrow(DType type, long from, long to, int n) {
    switch (type) {
      case BF16 -> floatToBfloat16(from, to, n);
      case F16 -> floatToFloat16(from, to, n);
      default -> throw new IllegalArgumentException("needs bf16 or f16; got " + type);
    }
  }

  /**
   * Rows of float32 to a type of 16 bits; rows that all follow one another are one.
   *
   * @param n elements of a row
   * @param from address of the first row
   * @param fromStep bytes from one row of the source to the next
   * @param to address of the first row of the result
   * @param toStep bytes from one row of the result to the next
   * @throws IllegalArgumentException if the type is another one
   */
  default void narrowRows(
      DType type, int rows, int n, long from, long fromStep, long to, long toStep) {
    if (fromStep == 4L * n && toStep == 2L * n) {
      narrow(type, from, to, rows * n);
      return;
    }
    for (int r = 0; r < rows; r++) {
      narrow(type, from + r * fromStep, to + r * toStep, n);
    }
  }
}
