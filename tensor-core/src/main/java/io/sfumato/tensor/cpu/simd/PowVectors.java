// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;
import static io.sfumato.tensor.cpu.simd.Lanes.D;
import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.ORDER;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.Memory;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Powers, over whole vectors only: the same bits in the interpreter and compiled, in vectors of any
 * length; rules of {@link Math#pow}.
 *
 * <p>{@code |a|^b = 2^(b log₂ |a|)} in double, to 2e-9, then rounded: an exponent of up to 150
 * would multiply the error of a float's logarithm by as much. Bases that are 0, negative, infinite
 * or NaN are seen to in a loop of their own, where there are any.
 *
 * <p>The loops are longer than the 325 bytecodes up to which the compiler inlines: in one method it
 * runs out of its budget and boxes vectors.
 */
final class PowVectors {
  private static final VectorSpecies<Float> HALF =
      VectorSpecies.of(float.class, VectorShape.forBitSize(D.vectorBitSize() / 2));
  private static final int H = D.length();

  /** {@code log₂((1 + s) / (1 - s)) = s Σ Lᵢ s^2i} to 2^-37 (Lawson fit). */
  private static final double L0 = 0x1.71547652bede5p1;

  private static final double L1 = 0x1.ec709d12e1d6ap-1;
  private static final double L2 = 0x1.27777fd9e4e77p-1;
  private static final double L3 = 0x1.a58d90076dab6p-2;
  private static final double L4 = 0x1.5ce7c801913d4p-2;

  /** {@code 2^r = 1 + Σ Eᵢ rⁱ} for |r| up to 1/2, to 2^-28 (Lawson fit). */
  private static final double E1 = 0x1.62e430af60667p-1;

  private static final double E2 = 0x1.ebfbdc3b08bf0p-3;
  private static final double E3 = 0x1.c6aee839a8de3p-5;
  private static final double E4 = 0x1.3b2d4d7b1e463p-7;
  private static final double E5 = 0x1.5f3e7f63365f1p-10;
  private static final double E6 = 0x1.41fb9f1cbe129p-13;

  private static final long SQRT_HALF_BITS = 0x3FE6A09E667F3BCDL;
  private static final long ONE_BITS = 0x3FF0000000000000L;
  private static final long MANTISSA = 0xFFFFFFFFFFFFFL;

  /** A double with this exponent has the integer of its low bits on top of 2⁵². */
  private static final long TWO_52_BITS = 0x4330000000000000L;

  private static final double BIAS = 0x1p52 + 1023;

  /** {@code 1.5 2⁵²}: adding it rounds to an integer, found in the low bits of the sum. */
  private static final double ROUNDER = 0x1.8p52;

  /** Powers of two beyond it overflow, or vanish, as floats. */
  private static final double FAR = 200;

  private static final float TWO_23 = 0x1p23f;
  private static final int INFINITY_BITS = 0x7F800000;

  /** Doubles in the block of floats that a thread owns. */
  private static final int BLOCK = Lanes.BLOCK / 2;

  private PowVectors() {}

  /** {@code y = a^b}; a step is 1, or 0 for a vector of equal numbers that all use. */
  static void pow(long a, int stepA, long b, int stepB, long y, int n) {
    long t = Lanes.block();
    for (int i = 0; i < n; i += BLOCK) {
      long at = i * 4L;
      int m = Math.min(BLOCK, n - i);
      long left = a + at * stepA;
      long right = b + at * stepB;
      logarithms(left, stepA, right, stepB, t, m);
      if (signs(left, stepA == 0 ? N : m) < 0) {
        exponentials(t, t, m);
        signed(left, stepA, right, stepB, t, y + at, m);
      } else {
        exponentials(t, y + at, m);
      }
    }
  }

  /** Negative if a number is 0, infinite or NaN, or has its sign set. */
  private static int signs(long a, int n) {
    IntVector all = IntVector.zero(Lanes.I);
    for (int i = 0; i < n; i += N) {
      IntVector bits = load(a, i * 4L).reinterpretAsInts();
      all = all.or(bits).or(bits.sub(1)).or(bits.neg().add(INFINITY_BITS - 1));
    }
    return all.reduceLanes(VectorOperators.OR);
  }

  /** {@code t = b log₂ |a|} in double, NaN as {@code a} being taken for a large number. */
  private static void logarithms(long a, int stepA, long b, int stepB, long t, int n) {
    DoubleVector one = DoubleVector.broadcast(D, 1);
    DoubleVector l0 = DoubleVector.broadcast(D, L0);
    DoubleVector l1 = DoubleVector.broadcast(D, L1);
    DoubleVector l2 = DoubleVector.broadcast(D, L2);
    DoubleVector l3 = DoubleVector.broadcast(D, L3);
    DoubleVector l4 = DoubleVector.broadcast(D, L4);
    for (int i = 0; i < n; i += H) {
      FloatVector left =
          FloatVector.fromMemorySegment(HALF, ALL, Memory.at(a, i * 4L * stepA), ORDER);
      FloatVector right =
          FloatVector.fromMemorySegment(HALF, ALL, Memory.at(b, i * 4L * stepB), ORDER);
      DoubleVector x = (DoubleVector) left.abs().convertShape(VectorOperators.F2D, D, 0);
      LongVector bits = x.reinterpretAsLongs().add(ONE_BITS - SQRT_HALF_BITS);
      DoubleVector k =
          bits.lanewise(VectorOperators.LSHR, 52).or(TWO_52_BITS).reinterpretAsDoubles().sub(BIAS);
      DoubleVector m = bits.and(MANTISSA).add(SQRT_HALF_BITS).reinterpretAsDoubles();
      DoubleVector s = m.sub(one).div(m.add(one));
      DoubleVector q = s.mul(s);
      DoubleVector p = q.fma(l4, l3).fma(q, l2).fma(q, l1).fma(q, l0).fma(s, k);
      DoubleVector exponent = (DoubleVector) right.convertShape(VectorOperators.F2D, D, 0);
      p.mul(exponent).intoMemorySegment(ALL, Memory.at(t, i * 8L), ORDER);
    }
  }

  /** {@code y = 2^t}, t in double; y may be t. */
  private static void exponentials(long t, long y, int n) {
    DoubleVector one = DoubleVector.broadcast(D, 1);
    DoubleVector e1 = DoubleVector.broadcast(D, E1);
    DoubleVector e2 = DoubleVector.broadcast(D, E2);
    DoubleVector e3 = DoubleVector.broadcast(D, E3);
    DoubleVector e4 = DoubleVector.broadcast(D, E4);
    DoubleVector e5 = DoubleVector.broadcast(D, E5);
    DoubleVector e6 = DoubleVector.broadcast(D, E6);
    DoubleVector rounder = DoubleVector.broadcast(D, ROUNDER);
    DoubleVector highest = DoubleVector.broadcast(D, FAR);
    DoubleVector lowest = DoubleVector.broadcast(D, -FAR);
    for (int i = 0; i < n; i += H) {
      DoubleVector e = DoubleVector.fromMemorySegment(D, ALL, Memory.at(t, i * 8L), ORDER);
      e = e.blend(highest, e.compare(VectorOperators.GT, highest));
      e = e.blend(lowest, e.compare(VectorOperators.LT, lowest));
      DoubleVector z = e.add(rounder);
      DoubleVector r = e.sub(z.sub(rounder));
      DoubleVector p = r.fma(e6, e5).fma(r, e4).fma(r, e3).fma(r, e2).fma(r, e1).fma(r, one);
      LongVector power = z.reinterpretAsLongs().lanewise(VectorOperators.LSHL, 52);
      p = p.mul(power.add(ONE_BITS).reinterpretAsDoubles());
      FloatVector result = (FloatVector) p.convertShape(VectorOperators.D2F, HALF, 0);
      result.intoMemorySegment(ALL, Memory.at(y, i * 4L), ORDER);
    }
  }

  /**
   * {@code y = a^b}, given {@code p = |a|^b}: 0 or infinite for 0 and infinite a unless b is 0 (the
   * logarithms of such a are taken for ±1024), negative for negative a and odd b, NaN for negative
   * finite a and b that is no integer, and for NaN as a unless b is 0.
   */
  private static void signed(long a, int stepA, long b, int stepB, long p, long y, int n) {
    FloatVector zero = FloatVector.zero(Lanes.F);
    FloatVector one = FloatVector.broadcast(Lanes.F, 1f);
    FloatVector rounder = FloatVector.broadcast(Lanes.F, TWO_23);
    for (int i = 0; i < n; i += N) {
      FloatVector x =
          FloatVector.fromMemorySegment(Lanes.F, ALL, Memory.at(a, i * 4L * stepA), ORDER);
      FloatVector w =
          FloatVector.fromMemorySegment(Lanes.F, ALL, Memory.at(b, i * 4L * stepB), ORDER);
      FloatVector e = w.abs();
      FloatVector half = e.mul(0.5f);
      VectorMask<Float> small = e.compare(VectorOperators.LT, rounder);
      VectorMask<Float> fraction = e.add(rounder).sub(rounder).compare(VectorOperators.NE, e);
      fraction = fraction.and(small);
      small = half.compare(VectorOperators.LT, rounder);
      VectorMask<Float> odd = half.add(rounder).sub(rounder).compare(VectorOperators.NE, half);
      odd = odd.and(small).andNot(fraction);
      VectorMask<Integer> minus = x.reinterpretAsInts().compare(VectorOperators.LT, 0);
      VectorMask<Float> below = x.compare(VectorOperators.LT, zero);
      below = below.and(x.compare(VectorOperators.GT, Float.NEGATIVE_INFINITY)).and(fraction);
      VectorMask<Float> unknown = x.compare(VectorOperators.NE, x);
      unknown = unknown.and(e.compare(VectorOperators.NE, zero));
      FloatVector v = FloatVector.fromMemorySegment(Lanes.F, ALL, Memory.at(p, i * 4L), ORDER);
      FloatVector inverse = one.div(x.abs());
      VectorMask<Float> edge = x.mul(inverse).compare(VectorOperators.NE, x.mul(inverse));
      v = v.blend(x.abs(), edge.and(w.compare(VectorOperators.GT, zero)));
      v = v.blend(inverse, edge.and(w.compare(VectorOperators.LT, zero)));
      v = v.blend(v.neg(), minus.cast(Lanes.F).and(odd));
      store(v.blend(Float.NaN, below.or(unknown)), y, i * 4L);
    }
  }
}
