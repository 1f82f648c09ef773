// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.SpecialFunctions;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Exponentials: a loop writes the arguments to a block, then {@link #exp} works in place. Over
 * whole vectors only, but {@link #shiftedRow}.
 *
 * <p>{@code VectorOperators.EXP} is not used, for two reasons. It is {@code Math.exp} lane by lane
 * until its loop is compiled and a library call from then on, so results change in the last place
 * while a program warms up. And a vector that is needed after the call is spilled to a stack that
 * is aligned to 16 bytes: whether a 64-byte spill straddles a cache line depends on the frames of
 * all callers, and the same code runs two to three times slower in one program than in another.
 */
final class ExpVectors {
  private static final float C = (float) SpecialFunctions.SQRT_2_OVER_PI;
  private static final float CUBIC = (float) SpecialFunctions.GELU_CUBIC;

  private static final float LOG2_E = 1.44269504f;

  /**
   * {@code ln 2 = LN2_HIGH + LN2_LOW}; the first has nine bits, so that its multiples are exact.
   */
  private static final float LN2_HIGH = 0.693359375f;

  private static final float LN2_LOW = -2.12194440e-4f;

  /** {@code 1.5 2²³}: adding it rounds to an integer, found in the low bits of the sum. */
  private static final float ROUNDER = 0x1.8p23f;

  private static final int ROUNDER_BITS = 0x4B400000;

  /**
   * {@code e^r = 1 + r + r² Σ Pᵢ rⁱ} for |r| up to ln 2 / 2, weighted least-squares (Lawson) fit.
   */
  private static final float P0 = 0.49999994f;

  private static final float P1 = 0.16666521f;
  private static final float P2 = 0.04166839f;
  private static final float P3 = 0.008368717f;
  private static final float P4 = 0.0013814598f;

  private ExpVectors() {}

  /**
   * {@code y = e^x}; {@code e^x = 2^n e^r}, the power of two in two factors for the sake of
   * subnormal results. NaN passes through; from 89 on the result is infinite, below -104 it is 0.
   */
  static void exp(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x + i * 4L);
      v = v.blend(89f, v.compare(VectorOperators.GT, 89f));
      v = v.blend(-104f, v.compare(VectorOperators.LT, -104f));
      FloatVector z = v.fma(all(LOG2_E), all(ROUNDER));
      FloatVector f = z.sub(ROUNDER);
      FloatVector r = f.fma(all(-LN2_LOW), f.fma(all(-LN2_HIGH), v));
      FloatVector p = r.fma(all(P4), all(P3)).fma(r, all(P2)).fma(r, all(P1)).fma(r, all(P0));
      p = p.fma(r.mul(r), r).add(1f);
      IntVector k = z.reinterpretAsInts().sub(ROUNDER_BITS);
      IntVector half = k.lanewise(VectorOperators.ASHR, 1);
      IntVector rest = k.sub(half);
      FloatVector a = half.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
      FloatVector b = rest.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
      store(p.mul(a).mul(b), y + i * 4L);
    }
  }

  /** {@code t = e^(x - shift)} for any {@code n}. */
  static void shiftedRow(long x, float shift, long t, int n) {
    int whole = Lanes.whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(x + i * 4L).sub(shift), t + i * 4L);
    }
    exp(t, t, whole);
    if (whole < n) {
      VectorMask<Float> m = Lanes.first(n - whole);
      long pad = Lanes.lastPad();
      store(load(x + whole * 4L, m).sub(shift), pad);
      exp(pad, pad, N);
      store(load(pad), t + whole * 4L, m);
    }
  }

  /** {@code t = e^(-x)}. */
  static void negated(long x, long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x + i * 4L).neg(), t + i * 4L);
    }
    exp(t, t, n);
  }

  /** {@code t = e^(-|x|)}. */
  static void negatedAbs(long x, long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x + i * 4L).abs().neg(), t + i * 4L);
    }
    exp(t, t, n);
  }

  /** {@code t = e^(factor x²)}. */
  static void square(long x, float factor, long t, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x + i * 4L);
      store(v.mul(v).mul(factor), t + i * 4L);
    }
    exp(t, t, n);
  }

  /** {@code t = e^(-2u)}, u the argument of the tanh form of GELU. */
  static void geluTanh(long x, long t, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x + i * 4L);
      store(v.mul(v).fma(all(-2f * C * CUBIC), all(-2f * C)).mul(v), t + i * 4L);
    }
    exp(t, t, n);
  }

  /** {@code t = log(1 + t)}. */
  static void log1p(long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(t + i * 4L).lanewise(VectorOperators.LOG1P), t + i * 4L);
    }
  }
}
