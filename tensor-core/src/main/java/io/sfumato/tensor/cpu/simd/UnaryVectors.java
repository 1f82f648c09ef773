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
import io.sfumato.tensor.cpu.UnaryOp;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** One loop per pointwise function, over whole vectors only. */
final class UnaryVectors {
  private static final float C0 = SpecialFunctions.erfcCoefficient(0);
  private static final float C1 = SpecialFunctions.erfcCoefficient(1);
  private static final float C2 = SpecialFunctions.erfcCoefficient(2);
  private static final float C3 = SpecialFunctions.erfcCoefficient(3);
  private static final float C4 = SpecialFunctions.erfcCoefficient(4);
  private static final float C5 = SpecialFunctions.erfcCoefficient(5);
  private static final float C6 = SpecialFunctions.erfcCoefficient(6);
  private static final float C7 = SpecialFunctions.erfcCoefficient(7);
  private static final float C8 = SpecialFunctions.erfcCoefficient(8);
  private static final float E0 = SpecialFunctions.erfCoefficient(0);
  private static final float E1 = SpecialFunctions.erfCoefficient(1);
  private static final float E2 = SpecialFunctions.erfCoefficient(2);
  private static final float E3 = SpecialFunctions.erfCoefficient(3);
  private static final float E4 = SpecialFunctions.erfCoefficient(4);
  private static final float E5 = SpecialFunctions.erfCoefficient(5);
  private static final float HALF_SQRT_HALF = (float) (0.5 * SpecialFunctions.SQRT_HALF);
  private static final float C = (float) SpecialFunctions.SQRT_2_OVER_PI;
  private static final float CUBIC = (float) SpecialFunctions.GELU_CUBIC;
  private static final float TWO_23 = 0x1p23f;
  private static final int SIGN_BIT = 0x80000000;

  private UnaryVectors() {}

  /** {@code y = op(x)}; {@code n} is a multiple of the vector length. */
  static void run(UnaryOp op, long x, long y, int n) {
    switch (op) {
      case ERF, GELU, SOFTPLUS -> {
        for (int i = 0; i < n; i += Lanes.BLOCK) {
          block(op, x + i * 4L, y + i * 4L, Math.min(Lanes.BLOCK, n - i));
        }
      }
      case SIGMOID -> sigmoid(x, y, n);
      case SILU -> silu(x, y, n);
      case GELU_TANH -> geluTanh(x, y, n);
      case NEGATE -> negate(x, y, n);
      case ABS -> abs(x, y, n);
      case EXP -> ExpVectors.exp(x, y, n);
      case LOG -> LogVectors.log(x, y, n);
      case SIN -> SineVectors.sin(x, y, n);
      case COS -> SineVectors.cos(x, y, n);
      case TANH -> TanhVectors.tanh(x, y, n);
      case SQRT -> sqrt(x, y, n);
      case RSQRT -> rsqrt(x, y, n);
      case RECIPROCAL -> reciprocal(x, y, n);
      case SQUARE -> square(x, y, n);
      case RELU -> relu(x, y, n);
      case SIGN -> sign(x, y, n);
      case FLOOR -> floor(x, y, n);
      case CEIL -> ceil(x, y, n);
      case ROUND -> round(x, y, n);
    }
  }

  /** One block of a function that needs exponentials, which are computed first. */
  private static void block(UnaryOp op, long x, long y, int n) {
    long t = Lanes.block();
    switch (op) {
      case ERF -> {
        ExpVectors.square(x, -1f, t, n);
        erf(x, y, t, n);
      }
      case GELU -> {
        ExpVectors.square(x, -0.5f, t, n);
        gelu(x, y, t, n);
      }
      case SOFTPLUS -> {
        ExpVectors.negatedAbs(x, t, n);
        LogVectors.softplus(x, y, t, n);
      }
      default -> throw new IllegalArgumentException("no exponential in " + op);
    }
  }

  private static void negate(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x, i * 4L).neg(), y, i * 4L);
    }
  }

  private static void abs(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x, i * 4L).abs(), y, i * 4L);
    }
  }

  private static void sqrt(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x, i * 4L).sqrt(), y, i * 4L);
    }
  }

  private static void rsqrt(long x, long y, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      store(one.div(load(x, i * 4L).sqrt()), y, i * 4L);
    }
  }

  private static void reciprocal(long x, long y, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      store(one.div(load(x, i * 4L)), y, i * 4L);
    }
  }

  private static void square(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      store(v.mul(v), y, i * 4L);
    }
  }

  private static void erf(long x, long y, long e, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      FloatVector t = v.abs();
      FloatVector k = one.div(t.fma(all(0.5f), one));
      FloatVector p = k.fma(all(C8), all(C7)).fma(k, all(C6)).fma(k, all(C5)).fma(k, all(C4));
      p = p.fma(k, all(C3)).fma(k, all(C2)).fma(k, all(C1)).fma(k, all(C0)).mul(k);
      FloatVector far = one.sub(p.mul(load(e, i * 4L)));
      far = far.lanewise(VectorOperators.NEG, v.compare(VectorOperators.LT, 0f));
      FloatVector s = v.mul(v);
      FloatVector q = s.fma(all(E5), all(E4)).fma(s, all(E3)).fma(s, all(E2));
      q = q.fma(s, all(E1)).fma(s, all(E0)).fma(v, v);
      store(far.blend(q, t.compare(VectorOperators.LT, 0.9f)), y, i * 4L);
    }
  }

  private static void sigmoid(long x, long y, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L).neg();
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = vanishing(scaled(lower(upper(r), r), z), v);
      store(one.div(exploding(e, v).add(1f)), y, i * 4L);
    }
  }

  private static void silu(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector w = load(x, i * 4L);
      FloatVector v = limited(w.neg());
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      store(w.div(e.add(1f)), y, i * 4L);
    }
  }

  private static void gelu(long x, long y, long e, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      FloatVector k = one.div(v.abs().fma(all(HALF_SQRT_HALF), one));
      FloatVector p = k.fma(all(C8), all(C7)).fma(k, all(C6)).fma(k, all(C5)).fma(k, all(C4));
      p = p.fma(k, all(C3)).fma(k, all(C2)).fma(k, all(C1)).fma(k, all(C0)).mul(k);
      FloatVector g = load(e, i * 4L);
      FloatVector tail = p.mul(g).mul(0.5f);
      FloatVector cdf = one.sub(tail).blend(tail, v.compare(VectorOperators.LT, 0f));
      store(v.mul(cdf), y, i * 4L);
    }
  }

  /** {@code x / (1 + e^(-2u))}, u the argument of the tanh form. */
  private static void geluTanh(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector w = load(x, i * 4L);
      FloatVector v = limited(w.mul(w).fma(all(-2f * C * CUBIC), all(-2f * C)).mul(w));
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      store(w.div(e.add(1f)), y, i * 4L);
    }
  }

  private static void relu(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      store(load(x, i * 4L).max(0f), y, i * 4L);
    }
  }

  private static void sign(long x, long y, int n) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      FloatVector s = one.blend(-1f, v.compare(VectorOperators.LT, 0f));
      VectorMask<Float> sign = v.abs().compare(VectorOperators.GT, 0f);
      store(v.blend(s, sign), y, i * 4L);
    }
  }

  private static void floor(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      FloatVector a = v.abs();
      FloatVector r = a.add(TWO_23).sub(TWO_23);
      r =
          r.reinterpretAsInts()
              .lanewise(VectorOperators.OR, v.reinterpretAsInts().and(SIGN_BIT))
              .reinterpretAsFloats();
      r = r.sub(1f, r.compare(VectorOperators.GT, v));
      store(v.blend(r, a.compare(VectorOperators.LT, TWO_23)), y, i * 4L);
    }
  }

  private static void ceil(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      FloatVector a = v.abs();
      FloatVector r = a.add(TWO_23).sub(TWO_23);
      r =
          r.reinterpretAsInts()
              .lanewise(VectorOperators.OR, v.reinterpretAsInts().and(SIGN_BIT))
              .reinterpretAsFloats();
      r = r.add(1f, r.compare(VectorOperators.LT, v));
      r =
          r.reinterpretAsInts()
              .lanewise(VectorOperators.OR, v.reinterpretAsInts().and(SIGN_BIT))
              .reinterpretAsFloats();
      store(v.blend(r, a.compare(VectorOperators.LT, TWO_23)), y, i * 4L);
    }
  }

  private static void round(long x, long y, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector v = load(x, i * 4L);
      FloatVector a = v.abs();
      FloatVector r = a.add(TWO_23).sub(TWO_23);
      r =
          r.reinterpretAsInts()
              .lanewise(VectorOperators.OR, v.reinterpretAsInts().and(SIGN_BIT))
              .reinterpretAsFloats();
      store(v.blend(r, a.compare(VectorOperators.LT, TWO_23)), y, i * 4L);
    }
  }
}
