// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

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
}
