// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;
import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.ORDER;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.machine.ShortExp;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Exponentials, over whole vectors only but for the rows. {@link #exp} takes any argument; the
 * short form ({@link ShortExp}) is for arguments whose results are normal numbers, or are known to
 * vanish. It is written as steps of a few bytecodes, which the compiler inlines wherever they
 * stand:
 *
 * <pre>{@code
 * FloatVector z = rounded(v);
 * FloatVector r = remainder(z, v);
 * FloatVector e = scaled(lower(upper(r), r), z);
 * }</pre>
 *
 * <p>A loop may hold one such exponential and some ten operations more. Two of them are too much
 * for the compiler's inlining budget, and vectors that cross a call are boxed.
 *
 * <p>{@code VectorOperators.EXP} is not used, for two reasons. It is {@code Math.exp} lane by lane
 * until its loop is compiled and a library call from then on, so results change in the last place
 * while a program warms up. And a vector that is needed after the call is spilled to a stack that
 * is aligned to 16 bytes: whether a 64-byte spill straddles a cache line depends on the frames of
 * all callers, and the same code runs two to three times slower in one program than in another.
 */
final class ExpVectors {
  static final float LOG2_E = ShortExp.LOG2_E;

  /**
   * {@code ln 2 = LN2_HIGH + LN2_LOW}; the first has nine bits, so that its multiples are exact.
   */
  private static final float LN2_HIGH = 0.693359375f;

  private static final float LN2_LOW = -2.12194440e-4f;

  static final float ROUNDER = ShortExp.ROUNDER;

  private static final int ROUNDER_BITS = 0x4B400000;

  /**
   * {@code e^r = 1 + r + r² Σ Pᵢ rⁱ} for |r| up to ln 2 / 2, weighted least-squares (Lawson) fit.
   */
  private static final float P0 = 0.49999994f;

  private static final float P1 = 0.16666521f;
  private static final float P2 = 0.04166839f;
  private static final float P3 = 0.008368717f;
  private static final float P4 = 0.0013814598f;

  static final float S0 = ShortExp.S0;
  static final float S1 = ShortExp.S1;
  static final float S2 = ShortExp.S2;
  static final float S3 = ShortExp.S3;
  static final float LN2 = ShortExp.LN2;
  static final float LOWEST = ShortExp.LOWEST;

  /** Above it the short form does not hold: the power of two has no exponent left. */
  static final float HIGHEST = 88f;

  /** {@link #LOWEST} as an unsigned number: larger ones are smaller floats. */
  private static final int LOWEST_BITS = Float.floatToRawIntBits(LOWEST);

  /** Elements whose exponentials are summed in f32 before the sum goes on in double. */
  private static final int SUMMED = 1024;

  static final int ONE_BITS = ShortExp.ONE_BITS;

  private ExpVectors() {}

  /** {@code v / ln 2} to the next integer, in the low bits of the result. */
  static FloatVector rounded(FloatVector v) {
    return v.fma(all(LOG2_E), all(ROUNDER));
  }

  /** What {@link #rounded} left over; its error of 2e-9 |v| is the short form's own. */
  static FloatVector remainder(FloatVector z, FloatVector v) {
    return z.sub(ROUNDER).fma(all(-LN2), v);
  }

  /** The first half of the polynomial. */
  static FloatVector upper(FloatVector r) {
    return r.fma(all(S3), all(S2)).fma(r, all(S1));
  }

  /** The second half of the polynomial. */
  static FloatVector lower(FloatVector p, FloatVector r) {
    return last(p.fma(r, all(S0)), r);
  }

  private static FloatVector last(FloatVector p, FloatVector r) {
    return p.fma(r, all(1f)).fma(r, all(1f));
  }

  /** {@code p} times the power of two that {@link #rounded} found; NaN stays NaN. */
  static FloatVector scaled(FloatVector p, FloatVector z) {
    return p.mul(shifted(z).add(ONE_BITS).reinterpretAsFloats());
  }

  /** As {@link #scaled} for arguments that are not NaN, one multiplication less. */
  static FloatVector raised(FloatVector p, FloatVector z) {
    return p.reinterpretAsInts().add(shifted(z)).reinterpretAsFloats();
  }

  private static IntVector shifted(FloatVector z) {
    return z.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
  }

  /**
   * {@code v}, or {@link #LOWEST} if that is larger. A NaN stays, or becomes {@link #LOWEST} if its
   * sign is set: callers see to NaN.
   */
  static FloatVector limited(FloatVector v) {
    return v.reinterpretAsInts().lanewise(VectorOperators.UMIN, LOWEST_BITS).reinterpretAsFloats();
  }

  /** {@code e}, but 0 where the argument {@code v} is below {@link #LOWEST}. */
  static FloatVector vanishing(FloatVector e, FloatVector v) {
    return e.blend(0f, v.compare(VectorOperators.LT, LOWEST));
  }

  /** {@code e}, but infinite where the argument {@code v} is above {@link #HIGHEST}. */
  static FloatVector exploding(FloatVector e, FloatVector v) {
    return e.blend(Float.POSITIVE_INFINITY, v.compare(VectorOperators.GT, HIGHEST));
  }

  /**
   * {@code y = e^x}; {@code e^x = 2^n e^r}, the power of two in two factors for the sake of
   * subnormal results. NaN passes through; from 89 on the result is infinite, below -104 it is 0.
   */
  static void exp(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
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
      store(p.mul(a).mul(b), y, i * 4L);
    }
  }

  /**
   * {@code t = e^(x - shift)} for any {@code n}: 0 where it is less than the smallest normal
   * number, infinite where the argument is above {@link #HIGHEST}.
   */
  static void shiftedRow(long x, float shift, long t, int n) {
    int whole = Lanes.whole(n);
    for (int i = 0; i < whole; i += N) {
      FloatVector v = load(x, i * 4L).sub(shift);
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = vanishing(scaled(lower(upper(r), r), z), v);
      store(exploding(e, v), t, i * 4L);
    }
    if (whole < n) {
      long pad = Lanes.lastPad();
      VectorMask<Float> m = Lanes.first(n - whole);
      store(load(x, whole * 4L, m), pad);
      shiftedRow(pad, shift, pad, N);
      store(load(pad), t, whole * 4L, m);
    }
  }

  /**
   * As {@link #shiftedRow}, for arguments that are not positive; returns the sum of the results.
   */
  static double shiftedRowSum(long x, float shift, long t, int n) {
    float[] sums = Lanes.sums();
    double sum = 0;
    for (int i = 0; i < n; i += SUMMED) {
      blockSum(x + i * 4L, shift, t + i * 4L, Math.min(SUMMED, n - i), sums);
      sum += Lanes.sum(sums, 0);
    }
    return sum;
  }

  private static void blockSum(long x, float shift, long t, int n, float[] out) {
    int whole = Lanes.whole(n);
    all(0f).intoArray(out, 0);
    addVectors(x, shift, t, whole, out);
    if (whole < n) { // padded with what has no exponential
      long pad = Lanes.lastPad();
      store(all(Float.NEGATIVE_INFINITY), pad);
      Lanes.copyRest(x + whole * 4L, pad, n - whole);
      addVectors(pad, shift, pad, N, out);
      Lanes.copyRest(pad, t + whole * 4L, n - whole);
    }
  }

  /**
   * Adds the exponentials of whole vectors to a vector of sums. Written out to more than 325
   * bytecodes, so that the compiler never inlines it: together with a row's other loops it was too
   * much, and every vector was boxed.
   */
  private static void addVectors(long x, float shift, long t, int n, float[] out) {
    FloatVector log2e = FloatVector.broadcast(Lanes.F, LOG2_E);
    FloatVector ln2 = FloatVector.broadcast(Lanes.F, -LN2);
    FloatVector rounder = FloatVector.broadcast(Lanes.F, ROUNDER);
    FloatVector s0 = FloatVector.broadcast(Lanes.F, S0);
    FloatVector s1 = FloatVector.broadcast(Lanes.F, S1);
    FloatVector s2 = FloatVector.broadcast(Lanes.F, S2);
    FloatVector s3 = FloatVector.broadcast(Lanes.F, S3);
    FloatVector one = FloatVector.broadcast(Lanes.F, 1f);
    FloatVector zero = FloatVector.zero(Lanes.F);
    FloatVector lowest = FloatVector.broadcast(Lanes.F, LOWEST);
    FloatVector shifts = FloatVector.broadcast(Lanes.F, shift);
    FloatVector sum = FloatVector.fromArray(Lanes.F, out, 0);
    int step = Lanes.step();
    for (int i = 0; i < n; i += step) {
      long at = i * 4L;
      FloatVector v = FloatVector.fromMemorySegment(Lanes.F, ALL, Memory.at(x, at), ORDER);
      v = v.sub(shifts);
      FloatVector z = v.fma(log2e, rounder);
      FloatVector r = z.sub(rounder).fma(ln2, v);
      FloatVector e = r.fma(s3, s2).fma(r, s1).fma(r, s0).fma(r, one).fma(r, one);
      IntVector power = z.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
      FloatVector scale = power.add(ONE_BITS).reinterpretAsFloats();
      e = e.mul(scale);
      VectorMask<Float> vanishing = v.compare(VectorOperators.LT, lowest);
      e = e.blend(zero, vanishing);
      sum = sum.add(e);
      e.intoMemorySegment(ALL, Memory.at(t, at), ORDER);
    }
    sum.intoArray(out, 0);
  }

  /** {@code t = e^(-|x|)}. */
  static void negatedAbs(long x, long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x, i * 4L).abs().neg(), t, i * 4L);
    }
    exp(t, t, n);
  }

  /** {@code t = e^(factor x²)}, {@code factor} being negative. */
  static void square(long x, float factor, long t, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector w = load(x, i * 4L);
      FloatVector v = w.mul(w).mul(factor);
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      store(vanishing(scaled(lower(upper(r), r), z), v), t, i * 4L);
    }
  }
}
