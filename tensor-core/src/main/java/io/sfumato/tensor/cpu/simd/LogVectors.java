// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Natural logarithms, over whole vectors only: the same bits in the interpreter and compiled, in
 * vectors of any length.
 */
final class LogVectors {
  /** {@code ln 2} in two parts, the first of nine bits, so that its multiples are exact. */
  private static final float LN2_HIGH = 0.693359375f;

  private static final float LN2_LOW = -2.12194440e-4f;
  private static final float LN2 = 0.6931472f;

  /** {@code log(1 + f) = f + f² (f Σ Lᵢ fⁱ - 1/2)} for 1 + f from √½ to √2, to 6e-9 (Lawson). */
  private static final float L0 = 0.3333333f;

  private static final float L1 = -0.2500082f;
  private static final float L2 = 0.20001242f;
  private static final float L3 = -0.16623409f;
  private static final float L4 = 0.1420158f;
  private static final float L5 = -0.1315961f;
  private static final float L6 = 0.12762216f;
  private static final float L7 = -0.07636435f;

  private static final float SQRT_2_LESS_1 = 0.41421357f;
  private static final int SQRT_HALF_BITS = 0x3F3504F3;
  private static final int ONE_BITS = 0x3F800000;
  private static final int MIN_NORMAL_BITS = 0x00800000;
  private static final int INFINITY_BITS = 0x7F800000;
  private static final int MANTISSA = 0x7FFFFF;

  /** A float with this exponent has the integer of its low bits on top of 2²³. */
  private static final int TWO_23_BITS = 0x4B000000;

  private static final float TWO_23 = 0x1p23f;
  private static final float BIAS = TWO_23 + 127;

  private LogVectors() {}

  /**
   * {@code y = log x}, within a unit in the last place; {@code log 0 = -∞}, and NaN below. Blocks
   * of positive normal numbers alone are done with in one loop; others go through a slower one,
   * which gives the same bits for such numbers.
   */
  static void log(long x, long y, int n) {
    for (int i = 0; i < n; i += Lanes.BLOCK) {
      long at = i * 4L;
      int m = Math.min(Lanes.BLOCK, n - i);
      if (x == y || !normal(x + at, y + at, m)) {
        any(x + at, y + at, m);
      }
    }
  }

  /**
   * {@code y = log x = k ln 2 + log(1 + f)}, {@code x = 2^k (1 + f)}; false if x holds numbers for
   * which that does not hold.
   */
  private static boolean normal(long x, long y, int n) {
    IntVector least = IntVector.broadcast(Lanes.I, Integer.MAX_VALUE);
    IntVector largest = IntVector.zero(Lanes.I);
    for (int i = 0; i < n; i += N) {
      IntVector b = load(x, i * 4L).reinterpretAsInts();
      least = least.min(b);
      largest = largest.max(b);
      b = b.add(ONE_BITS - SQRT_HALF_BITS);
      FloatVector k = b.lanewise(VectorOperators.LSHR, 23).or(TWO_23_BITS).reinterpretAsFloats();
      k = k.sub(BIAS);
      FloatVector f = b.and(MANTISSA).add(SQRT_HALF_BITS).reinterpretAsFloats().sub(1f);
      FloatVector p = f.fma(all(L7), all(L6)).fma(f, all(L5)).fma(f, all(L4)).fma(f, all(L3));
      p = p.fma(f, all(L2)).fma(f, all(L1)).fma(f, all(L0)).fma(f, all(-0.5f));
      p = p.fma(f.mul(f), k.mul(LN2_LOW));
      store(k.fma(all(LN2_HIGH), f.add(p)), y, i * 4L);
    }
    return least.reduceLanes(VectorOperators.MIN) >= MIN_NORMAL_BITS
        && largest.reduceLanes(VectorOperators.MAX) < INFINITY_BITS;
  }

  /** As {@link #normal} for any numbers; subnormal ones are scaled first. */
  private static void any(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      VectorMask<Float> tiny = v.compare(VectorOperators.LT, Float.MIN_NORMAL);
      IntVector b = v.blend(v.mul(TWO_23), tiny).reinterpretAsInts();
      b = b.add(ONE_BITS - SQRT_HALF_BITS);
      FloatVector k = b.lanewise(VectorOperators.LSHR, 23).or(TWO_23_BITS).reinterpretAsFloats();
      k = k.sub(all(BIAS).blend(BIAS + 23, tiny));
      FloatVector f = b.and(MANTISSA).add(SQRT_HALF_BITS).reinterpretAsFloats().sub(1f);
      FloatVector p = f.fma(all(L7), all(L6)).fma(f, all(L5)).fma(f, all(L4)).fma(f, all(L3));
      p = p.fma(f, all(L2)).fma(f, all(L1)).fma(f, all(L0)).fma(f, all(-0.5f));
      p = p.fma(f.mul(f), k.mul(LN2_LOW));
      p = k.fma(all(LN2_HIGH), f.add(p));
      p = v.blend(p, v.compare(VectorOperators.LT, Float.POSITIVE_INFINITY));
      p = p.blend(Float.NEGATIVE_INFINITY, v.compare(VectorOperators.EQ, 0f));
      store(p.blend(Float.NaN, v.compare(VectorOperators.LT, 0f)), y, i * 4L);
    }
  }

  /**
   * {@code y = max(x, 0) + log(1 + e)}, {@code e = e^-|x|} being in [0, 1]. Half of what 1 + e is
   * above 2 is exact, so no correction is needed for the rounding of the sum.
   */
  static void softplus(long x, long y, long e, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector t = load(e, i * 4L);
      VectorMask<Float> large = t.compare(VectorOperators.GT, SQRT_2_LESS_1);
      FloatVector f = t.blend(t.sub(1f).mul(0.5f), large);
      FloatVector p = f.fma(all(L7), all(L6)).fma(f, all(L5)).fma(f, all(L4)).fma(f, all(L3));
      p = p.fma(f, all(L2)).fma(f, all(L1)).fma(f, all(L0)).fma(f, all(-0.5f));
      p = p.fma(f.mul(f), f).add(all(0f).blend(LN2, large));
      store(p.add(load(x, i * 4L).max(0f)), y, i * 4L);
    }
  }
}
