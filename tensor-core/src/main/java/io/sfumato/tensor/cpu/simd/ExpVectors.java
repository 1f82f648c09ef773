// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.SpecialFunctions;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Exponentials in loops of their own, over whole vectors only (but {@link #shiftedRow}).
 *
 * <p>The exponential is a call into a library, and a vector that is needed after it is spilled. The
 * stack is aligned to 16 bytes, so whether a 64-byte spill straddles a cache line depends on the
 * frames of all callers: the same code runs two to three times slower in one program than in
 * another, or after a caller is compiled. Therefore no loop here needs a vector of its own after
 * the call.
 */
final class ExpVectors {
  private static final float C = (float) SpecialFunctions.SQRT_2_OVER_PI;
  private static final float CUBIC = (float) SpecialFunctions.GELU_CUBIC;

  private ExpVectors() {}

  /** {@code t = e^(x - shift)}. */
  static void shifted(long x, float shift, long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x + i * 4L).sub(shift).lanewise(VectorOperators.EXP), t + i * 4L);
    }
  }

  /** {@code t = e^(x - shift)} for any {@code n}. */
  static void shiftedRow(long x, float shift, long t, int n) {
    int whole = Lanes.whole(n);
    shifted(x, shift, t, whole);
    if (whole < n) {
      VectorMask<Float> m = Lanes.first(n - whole);
      FloatVector v = load(x + whole * 4L, m).sub(shift).lanewise(VectorOperators.EXP);
      store(v, t + whole * 4L, Lanes.first(n - whole));
    }
  }

  /** {@code t = e^(-x)}. */
  static void negated(long x, long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x + i * 4L).neg().lanewise(VectorOperators.EXP), t + i * 4L);
    }
  }

  /** {@code t = e^(-|x|)}. */
  static void negatedAbs(long x, long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x + i * 4L).abs().neg().lanewise(VectorOperators.EXP), t + i * 4L);
    }
  }

  /** {@code t = e^(factor x²)}. */
  static void square(long x, float factor, long t, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x + i * 4L);
      store(v.mul(v).mul(factor).lanewise(VectorOperators.EXP), t + i * 4L);
    }
  }

  /** {@code t = e^(-2u)}, u the argument of the tanh form of GELU. */
  static void geluTanh(long x, long t, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x + i * 4L);
      FloatVector u = v.mul(v).fma(all(-2f * C * CUBIC), all(-2f * C)).mul(v);
      store(u.lanewise(VectorOperators.EXP), t + i * 4L);
    }
  }

  /** {@code t = log(1 + t)}. */
  static void log1p(long t, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(t + i * 4L).lanewise(VectorOperators.LOG1P), t + i * 4L);
    }
  }
}
