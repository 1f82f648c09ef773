// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * The hyperbolic tangent, over whole vectors only: the same bits in the interpreter and compiled,
 * in vectors of any length.
 */
final class TanhVectors {
  private static final float LOG2_E = 1.44269504f;

  /** {@code ln 2} in two parts, the first of nine bits, so that its multiples are exact. */
  private static final float LN2_HIGH = 0.693359375f;

  private static final float LN2_LOW = -2.12194440e-4f;

  /** {@code 1.5 2²³}: adding it rounds to an integer, found in the low bits of the sum. */
  private static final float ROUNDER = 0x1.8p23f;

  /** {@code e^r - 1 = r + r² Σ Pᵢ rⁱ} for |r| up to ln 2 / 2, to 1.4e-8 (Lawson fit). */
  private static final float P0 = 0.49999997f;

  private static final float P1 = 0.16666545f;
  private static final float P2 = 0.041667446f;
  private static final float P3 = 0.008366447f;
  private static final float P4 = 0.0013869854f;

  /** From here on tanh rounds to 1. */
  private static final float FAR = 10f;

  private static final int ONE_BITS = 0x3F800000;
  private static final int SIGN_BIT = 0x80000000;

  private TanhVectors() {}

  /**
   * {@code y = tanh x = t / (t + 2)} with {@code t = e^2|x| - 1 = 2^k (e^r - 1) + (2^k - 1)}, and
   * the sign of x; within 2 units in the last place. NaN stays NaN.
   */
  static void tanh(long x, long y, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      FloatVector w = v.abs();
      w = w.blend(FAR, w.compare(VectorOperators.GT, FAR));
      w = w.add(w);
      FloatVector z = w.fma(all(LOG2_E), all(ROUNDER));
      FloatVector f = z.sub(ROUNDER);
      FloatVector r = f.fma(all(-LN2_LOW), f.fma(all(-LN2_HIGH), w));
      FloatVector p = r.fma(all(P4), all(P3)).fma(r, all(P2)).fma(r, all(P1)).fma(r, all(P0));
      p = p.fma(r.mul(r), r);
      IntVector shifted = z.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
      FloatVector power = shifted.add(ONE_BITS).reinterpretAsFloats();
      FloatVector t = p.fma(power, power.sub(1f));
      FloatVector d = t.add(2f);
      FloatVector lost = t.sub(d.sub(2f));
      FloatVector inverse = one.div(d);
      FloatVector q = t.mul(inverse);
      FloatVector rest = q.fma(lost.neg(), q.neg().fma(d, t));
      q = rest.fma(inverse, q);
      IntVector sign = v.reinterpretAsInts().and(SIGN_BIT);
      store(q.reinterpretAsInts().or(sign).reinterpretAsFloats(), y, i * 4L);
    }
  }
}
