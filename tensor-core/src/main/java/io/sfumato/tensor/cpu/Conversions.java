// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Conversions between float formats over contiguous memory, on all threads. Narrowing rounds to
 * nearest, ties to even; NaN stays NaN. Source and destination must not overlap.
 */
public final class Conversions {
  private Conversions() {}

  /** float32 to bfloat16. */
  public static void floatToBfloat16(long from, long to, long n) {
    CastLoops loops = Loops.leaf().casts();
    Loops.forChunks(n, (at, m) -> loops.floatToBfloat16(from + at * 4, to + at * 2, m));
  }

  /** bfloat16 to float32. */
  public static void bfloat16ToFloat(long from, long to, long n) {
    CastLoops loops = Loops.leaf().casts();
    Loops.forChunks(n, (at, m) -> loops.bfloat16ToFloat(from + at * 2, to + at * 4, m));
  }

  /** float32 to IEEE binary16. */
  public static void floatToFloat16(long from, long to, long n) {
    CastLoops loops = Loops.leaf().casts();
    Loops.forChunks(n, (at, m) -> loops.floatToFloat16(from + at * 4, to + at * 2, m));
  }

  /** IEEE binary16 to float32. */
  public static void float16ToFloat(long from, long to, long n) {
    CastLoops loops = Loops.leaf().casts();
    Loops.forChunks(n, (at, m) -> loops.float16ToFloat(from + at * 2, to + at * 4, m));
  }
}
