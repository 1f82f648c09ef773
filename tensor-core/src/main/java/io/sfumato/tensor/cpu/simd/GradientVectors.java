// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.ExpVectors.exploding;
import static io.sfumato.tensor.cpu.simd.ExpVectors.limited;
import static io.sfumato.tensor.cpu.simd.ExpVectors.lower;
import static io.sfumato.tensor.cpu.simd.ExpVectors.raised;
import static io.sfumato.tensor.cpu.simd.ExpVectors.remainder;
import static io.sfumato.tensor.cpu.simd.ExpVectors.rounded;
import static io.sfumato.tensor.cpu.simd.ExpVectors.scaled;
import static io.sfumato.tensor.cpu.simd.ExpVectors.upper;
import static io.sfumato.tensor.cpu.simd.ExpVectors.vanishing;
import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.SpecialFunctions;
import io.sfumato.tensor.cpu.UnaryGradient;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** One loop per derivative of a pointwise function, over whole vectors only. */
final class GradientVectors {
  private static final float C0 = SpecialFunctions.erfcCoefficient(0);
  private static final float C1 = SpecialFunctions.erfcCoefficient(1);
  private static final float C2 = SpecialFunctions.erfcCoefficient(2);
  private static final float C3 = SpecialFunctions.erfcCoefficient(3);
  private static final float C4 = SpecialFunctions.erfcCoefficient(4);
  private static final float C5 = SpecialFunctions.erfcCoefficient(5);
  private static final float C6 = SpecialFunctions.erfcCoefficient(6);
  private static final float C7 = SpecialFunctions.erfcCoefficient(7);
  private static final float C8 = SpecialFunctions.erfcCoefficient(8);
  private static final float HALF_SQRT_HALF = (float) (0.5 * SpecialFunctions.SQRT_HALF);
  private static final float C = (float) SpecialFunctions.SQRT_2_OVER_PI;
  private static final float CUBIC = (float) SpecialFunctions.GELU_CUBIC;
  private static final float INV_SQRT_2PI = (float) SpecialFunctions.INV_SQRT_2PI;

  private GradientVectors() {}

  /** {@code dx = dy f'(kept)}; {@code n} is a multiple of the vector length. */
  static void run(UnaryGradient op, long kept, long dy, long dx, int n) {
    switch (op) {
      case GELU -> {
        for (int i = 0; i < n; i += Lanes.BLOCK) {
          geluBlock(kept + i * 4L, dy + i * 4L, dx + i * 4L, Math.min(Lanes.BLOCK, n - i));
        }
      }
      case SILU -> silu(kept, dy, dx, n);
      case GELU_TANH -> geluTanh(kept, dy, dx, n);
      case SOFTPLUS -> softplus(kept, dy, dx, n);
      case RELU -> relu(kept, dy, dx, n);
      case SIGMOID -> sigmoid(kept, dy, dx, n);
      case TANH -> tanh(kept, dy, dx, n);
    }
  }

  /** One block of GELU, whose exponentials are computed first. */
  private static void geluBlock(long kept, long dy, long dx, int n) {
    long t = Lanes.block();
    ExpVectors.square(kept, -0.5f, t, n);
    gelu(kept, dy, dx, t, n);
  }

  /** With {@code s = 1 / (1 + e^-x)}: {@code dy s (1 + x (1 - s))}. */
  private static void silu(long kept, long dy, long dx, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector w = load(kept, i * 4L);
      FloatVector v = limited(w.neg());
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      FloatVector s = one.div(e.add(1f));
      store(one.sub(s).fma(w, one).mul(s).mul(load(dy, i * 4L)), dx, i * 4L);
    }
  }

  private static void gelu(long kept, long dy, long dx, long e, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(kept, i * 4L);
      FloatVector k = one.div(v.abs().fma(all(HALF_SQRT_HALF), one));
      FloatVector p = k.fma(all(C8), all(C7)).fma(k, all(C6)).fma(k, all(C5)).fma(k, all(C4));
      p = p.fma(k, all(C3)).fma(k, all(C2)).fma(k, all(C1)).fma(k, all(C0)).mul(k);
      FloatVector g = load(e, i * 4L);
      FloatVector tail = p.mul(g).mul(0.5f);
      FloatVector cdf = one.sub(tail).blend(tail, v.compare(VectorOperators.LT, 0f));
      store(v.mul(g).fma(all(INV_SQRT_2PI), cdf).mul(load(dy, i * 4L)), dx, i * 4L);
    }
  }

  /** With {@code s = 1 / (1 + e^(-2u))}: {@code dy s (1 + 2 x u' (1 - s))}. */
  private static void geluTanh(long kept, long dy, long dx, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector x = load(kept, i * 4L);
      FloatVector w = x.mul(x);
      FloatVector v = limited(w.fma(all(-2f * C * CUBIC), all(-2f * C)).mul(x));
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      FloatVector s = one.div(e.add(1f));
      FloatVector slope = w.fma(all(6f * C * CUBIC), all(2f * C)).mul(x);
      store(one.sub(s).fma(slope, one).mul(s).mul(load(dy, i * 4L)), dx, i * 4L);
    }
  }

  private static void relu(long kept, long dy, long dx, int n) {
    FloatVector zero = all(0f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(kept, i * 4L);
      VectorMask<Float> on = v.compare(VectorOperators.GT, 0f);
      store(zero.blend(load(dy, i * 4L), on), dx, i * 4L);
    }
  }

  private static void sigmoid(long kept, long dy, long dx, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(kept, i * 4L);
      store(one.sub(v).mul(v).mul(load(dy, i * 4L)), dx, i * 4L);
    }
  }

  private static void tanh(long kept, long dy, long dx, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(kept, i * 4L);
      store(one.sub(v.mul(v)).mul(load(dy, i * 4L)), dx, i * 4L);
    }
  }

  private static void softplus(long kept, long dy, long dx, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(kept, i * 4L).neg();
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = vanishing(scaled(lower(upper(r), r), z), v);
      store(load(dy, i * 4L).div(exploding(e, v).add(1f)), dx, i * 4L);
    }
  }
}
