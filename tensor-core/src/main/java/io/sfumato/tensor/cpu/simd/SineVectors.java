// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.Memory;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Sine and cosine, over whole vectors only: the same bits in the interpreter and compiled, in
 * vectors of any length; within two units in the last place.
 *
 * <p>{@code sin x = ±sin r} with {@code r = x - kπ}, for the cosine with half a k more, found by
 * three fused multiply-adds ({@code π} has 72 bits here), the first of which is exact. That holds
 * up to {@link #FAR}; larger angles, infinite ones and NaN are left as they are by the loop and
 * computed one by one afterwards, which costs some 50 ns each.
 */
final class SineVectors {
  /** Larger angles take the slow way. */
  private static final float FAR = 0x1p17f;

  private static final int FAR_BITS = Float.floatToRawIntBits(FAR);
  private static final float INV_PI = 0.31830987f;
  private static final float PI_HIGH = 0x1.921fb4p1f;
  private static final float PI_MIDDLE = 0x1.4442dp-23f;
  private static final float PI_LOW = 0x1.846988p-47f;

  /** {@code 1.5 2²³}: adding it rounds to an integer, found in the low bits of the sum. */
  private static final float ROUNDER = 0x1.8p23f;

  /** {@code sin r = r + r³ Σ Sᵢ r^2i} for |r| up to π/2, to 7e-9 (Lawson fit). */
  private static final float S0 = -0.1666666f;

  private static final float S1 = 0.008333067f;
  private static final float S2 = -0.00019809553f;
  private static final float S3 = 2.6054586e-6f;

  private static final int MAGNITUDE = 0x7FFFFFFF;

  private SineVectors() {}

  /** {@code y = sin x}. */
  static void sin(long x, long y, int n) {
    if (nearSin(x, y, n) > FAR_BITS) {
      for (long at = y; at < y + 4L * n; at += 4) {
        float v = Memory.getFloat(at);
        if (!(Math.abs(v) <= FAR)) {
          Memory.putFloat(at, (float) StrictMath.sin(v));
        }
      }
    }
  }

  /** {@code y = cos x}. */
  static void cos(long x, long y, int n) {
    if (nearCos(x, y, n) > FAR_BITS) {
      for (long at = y; at < y + 4L * n; at += 4) {
        float v = Memory.getFloat(at);
        if (!(Math.abs(v) <= FAR)) {
          Memory.putFloat(at, (float) StrictMath.cos(v));
        }
      }
    }
  }

  /**
   * {@code y = sin x} up to {@link #FAR}, beyond and for zeros {@code y = x}; returns the bits of
   * the largest |x| or of a NaN.
   */
  private static int nearSin(long x, long y, int n) {
    IntVector largest = IntVector.zero(Lanes.I);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      IntVector a = v.reinterpretAsInts().and(MAGNITUDE);
      largest = largest.max(a);
      FloatVector z = v.fma(all(INV_PI), all(ROUNDER));
      FloatVector k = z.sub(ROUNDER);
      FloatVector r = k.fma(all(-PI_MIDDLE), k.fma(all(-PI_HIGH), v));
      r = k.fma(all(-PI_LOW), r);
      FloatVector s = r.mul(r);
      FloatVector p = s.fma(all(S3), all(S2)).fma(s, all(S1)).fma(s, all(S0));
      p = p.fma(s.mul(r), r);
      IntVector turn = z.reinterpretAsInts().lanewise(VectorOperators.LSHL, 31);
      p = p.reinterpretAsInts().lanewise(VectorOperators.XOR, turn).reinterpretAsFloats();
      VectorMask<Integer> near = a.sub(1).compare(VectorOperators.ULT, FAR_BITS);
      store(v.blend(p, near.cast(Lanes.F)), y, i * 4L);
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  /** {@code y = cos x} up to {@link #FAR}, beyond {@code y = x}; returns as {@link #nearSin}. */
  private static int nearCos(long x, long y, int n) {
    IntVector largest = IntVector.zero(Lanes.I);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      IntVector a = v.reinterpretAsInts().and(MAGNITUDE);
      largest = largest.max(a);
      FloatVector z = v.fma(all(INV_PI), all(0.5f)).add(ROUNDER);
      FloatVector k = z.sub(ROUNDER).sub(0.5f);
      FloatVector r = k.fma(all(-PI_MIDDLE), k.fma(all(-PI_HIGH), v));
      r = k.fma(all(-PI_LOW), r);
      FloatVector s = r.mul(r);
      FloatVector p = s.fma(all(S3), all(S2)).fma(s, all(S1)).fma(s, all(S0));
      p = p.fma(s.mul(r), r);
      IntVector turn = z.reinterpretAsInts().lanewise(VectorOperators.LSHL, 31);
      p = p.reinterpretAsInts().lanewise(VectorOperators.XOR, turn).reinterpretAsFloats();
      VectorMask<Integer> near = a.compare(VectorOperators.LE, FAR_BITS);
      store(v.blend(p, near.cast(Lanes.F)), y, i * 4L);
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }
}
