// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Pointwise loops of both providers against double precision. */
class ElementwiseLoopsTest {
  @AfterEach
  void release() {
    NativeFloats.releaseAll();
  }

  static final int[] SIZES = {0, 1, 7, 15, 16, 17, 31, 33, 100, 1023};
  private static final float[] SPECIAL = {
    0f,
    -0f,
    1f,
    -1f,
    0.5f,
    -0.5f,
    1.5f,
    2.5f,
    -2.5f,
    1e-20f,
    -1e-20f,
    1e-42f,
    88.5f,
    -87f,
    -100f,
    -103f,
    104f,
    1e6f,
    8388609f,
    -4194304.5f,
    1e10f,
    3e18f,
    Float.MAX_VALUE,
    -Float.MAX_VALUE,
    Float.MIN_VALUE,
    Float.POSITIVE_INFINITY,
    Float.NEGATIVE_INFINITY,
    Float.NaN,
    0.9999f,
    1.0001f
  };

  /**
   * Units in the last place that a function may be off at x. In the tails of GELU the rounding of
   * the exponent, of size x², is magnified by as much.
   */
  private static double ulps(UnaryOp op, float x) {
    return switch (op) {
      case NEGATE, ABS, SQRT, RECIPROCAL, SQUARE, RELU, SIGN, FLOOR, CEIL, ROUND -> 0.5001;
      case EXP, LOG, SIN, COS, TANH, RSQRT -> 2;
      case ERF -> 2.5;
      case SOFTPLUS -> 2;
      case SIGMOID, SILU -> 4;
      case GELU, GELU_TANH -> 4 + (double) x * x;
    };
  }

  @ParameterizedTest
  @EnumSource(UnaryOp.class)
  void unaryFollowsDoublePrecision(UnaryOp op) {
    for (SimdProvider provider : NativeFloats.providers()) {
      ElementwiseLoops loops = provider.loops().elementwise();
      for (int n : SIZES) {
        NativeFloats x = NativeFloats.random(n, 3 * n + 1, 0, n == 1023 ? 2 : 0.5);
        NativeFloats y = new NativeFloats(n);
        loops.unary(op, x.address, y.address, n);
        for (int i = 0; i < n; i++) {
          double expected = reference(op).applyAsDouble(x.get(i));
          checkUlps(provider.name() + " " + op, x.get(i), expected, y.get(i), ulps(op, x.get(i)));
        }
        y.checkGuards(op.name());
        loops.unary(op, x.address, x.address, n);
        for (int i = 0; i < n; i++) {
          assertEquals(y.get(i), x.get(i), op + " in place");
        }
      }
    }
  }

  /** Independent definitions of what has no function in {@link Math}. */
  private static DoubleUnaryOperator reference(UnaryOp op) {
    return switch (op) {
      case ERF -> ElementwiseLoopsTest::erf;
      case GELU -> x -> 0.5 * x * erfc(-x * Math.sqrt(0.5));
      case GELU_TANH ->
          x -> {
            double u = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
            return u > 0 ? 0.5 * x * (1 + Math.tanh(u)) : x / (1 + Math.exp(-2 * u));
          };
      default -> op::apply;
    };
  }

  static double erf(double x) {
    if (Math.abs(x) > 6) {
      return Math.signum(x);
    }
    double term = x;
    double sum = x;
    for (int k = 1; k < 200; k++) {
      term *= -x * x / k;
      sum += term / (2 * k + 1);
    }
    return Math.abs(x) < 2 ? 2 / Math.sqrt(Math.PI) * sum : x > 0 ? 1 - erfc(x) : erfc(-x) - 1;
  }

  static double erfc(double x) {
    if (x < 2) {
      return x < -2 ? 2 - erfc(-x) : 1 - erf(x);
    }
    double f = 0;
    for (int k = 200; k > 0; k--) {
      f = k / 2.0 / (x + f);
    }
    return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + f);
  }

  private static void checkUlps(String what, float x, double expected, float got, double ulps) {
    if (Double.isNaN(expected)) {
      assertTrue(Float.isNaN(got), () -> what + "(" + x + ") should be NaN; got " + got);
      return;
    }
    float rounded = (float) expected;
    if (Float.isInfinite(rounded) || expected == 0) {
      assertEquals(rounded, got, what + "(" + x + ")");
      return;
    }
    double off = Math.abs(got - expected) / Math.ulp(rounded);
    assertTrue(off <= ulps, () -> what + "(" + x + ") should be " + expected + "; got " + got);
  }

  @ParameterizedTest
  @EnumSource(UnaryOp.class)
  void unaryTreatsSpecialValuesAsJavaMathDoes(UnaryOp op) {
    for (SimdProvider provider : NativeFloats.providers()) {
      NativeFloats x = NativeFloats.of(SPECIAL);
      NativeFloats y = new NativeFloats(x.n);
      provider.loops().elementwise().unary(op, x.address, y.address, x.n);
      for (int i = 0; i < x.n; i++) {
        float v = x.get(i);
        if (Float.isFinite(v) && v < -12 && Math.abs(op.apply(v)) < 1e-30) {
          assertEquals(0f, y.get(i), 1e-30f, op + "(" + v + ")");
          continue;
        }
        double expected = op.apply(v);
        String what = provider.name() + " " + op;
        checkUlps(what, v, expected, y.get(i), Math.max(4, ulps(op, v)));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(UnaryGradient.class)
  void gradientsFollowDifferenceQuotients(UnaryGradient op) {
    UnaryOp forward = UnaryOp.valueOf(op.name());
    boolean fromOutput = op == UnaryGradient.SIGMOID || op == UnaryGradient.TANH;
    for (SimdProvider provider : NativeFloats.providers()) {
      for (int n : SIZES) {
        NativeFloats x = NativeFloats.random(n, n + 5, 0, 2);
        NativeFloats dy = NativeFloats.random(n, n + 6);
        NativeFloats kept = x.copy();
        if (fromOutput) {
          provider.loops().elementwise().unary(forward, x.address, kept.address, n);
        }
        NativeFloats dx = new NativeFloats(n);
        provider.loops().elementwise().gradient(op, kept.address, dy.address, dx.address, n);
        for (int i = 0; i < n; i++) {
          double h = 1e-5;
          DoubleUnaryOperator f = reference(forward);
          double up = f.applyAsDouble(x.get(i) + h);
          double slope = (up - f.applyAsDouble(x.get(i) - h)) / (2 * h);
          double limit = 2e-6 * Math.abs(dy.get(i));
          assertEquals(slope * dy.get(i), dx.get(i), limit, op + " at " + x.get(i));
        }
        dx.checkGuards(op.name());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(BinaryOp.class)
  void binaryFollowsDoublePrecision(BinaryOp op) {
    double ulps = op == BinaryOp.POW ? 0.55 : 0.5001;
    for (SimdProvider provider : NativeFloats.providers()) {
      ElementwiseLoops loops = provider.loops().elementwise();
      for (int n : SIZES) {
        NativeFloats a = NativeFloats.random(n, n + 1);
        NativeFloats b = NativeFloats.random(n, n + 2);
        NativeFloats y = new NativeFloats(n);
        loops.binary(op, a.address, b.address, y.address, n);
        String what = provider.name() + " " + op;
        for (int i = 0; i < n; i++) {
          checkUlps(what, a.get(i), op.apply(a.get(i), b.get(i)), y.get(i), ulps);
        }
        loops.binaryRight(op, a.address, 1.5f, y.address, n);
        for (int i = 0; i < n; i++) {
          checkUlps(what, a.get(i), op.apply(a.get(i), 1.5f), y.get(i), ulps);
        }
        loops.binaryLeft(op, 1.5f, a.address, y.address, n);
        for (int i = 0; i < n; i++) {
          checkUlps(what, a.get(i), op.apply(1.5f, a.get(i)), y.get(i), ulps);
        }
        y.checkGuards(what);
      }
      NativeFloats s = NativeFloats.of(SPECIAL);
      NativeFloats y = new NativeFloats(s.n);
      for (float other : new float[] {0f, -1f, 2f, 0.5f, Float.NaN, Float.NEGATIVE_INFINITY}) {
        loops.binaryRight(op, s.address, other, y.address, s.n);
        for (int i = 0; i < s.n; i++) {
          double expected = op.apply(s.get(i), other);
          checkUlps(op + " with " + other, s.get(i), expected, y.get(i), ulps);
        }
      }
    }
  }

  @Test
  void combinationsFollowTheirFormulas() {
    for (SimdProvider provider : NativeFloats.providers()) {
      ElementwiseLoops loops = provider.loops().elementwise();
      for (int n : SIZES) {
        NativeFloats a = NativeFloats.random(n, n + 1);
        NativeFloats b = NativeFloats.random(n, n + 2);
        NativeFloats c = NativeFloats.random(n, n + 3);
        NativeFloats d = NativeFloats.random(n, n + 4);
        NativeFloats y = new NativeFloats(n);
        double[] e = new double[n];
        loops.multiplyAdd(a.address, b.address, c.address, y.address, n);
        Arrays.setAll(e, i -> a.get(i) + (double) b.get(i) * c.get(i));
        y.check(e, 1e-7, 0, "multiplyAdd");
        loops.axpby(0.3f, a.address, -2f, b.address, y.address, n);
        Arrays.setAll(e, i -> 0.3f * (double) a.get(i) - 2.0 * b.get(i));
        y.check(e, 2e-7, 1, "axpby");
        loops.sumOfFour(0.25f, a.address, b.address, c.address, d.address, y.address, n);
        Arrays.setAll(e, i -> 0.25 * ((double) a.get(i) + b.get(i) + c.get(i) + d.get(i)));
        y.check(e, 3e-7, 1, "sumOfFour");
        loops.leakyRelu(0.1f, a.address, y.address, n);
        Arrays.setAll(e, i -> a.get(i) > 0 ? a.get(i) : 0.1f * a.get(i));
        y.check(e, 1e-7, 0, "leakyRelu");
        loops.leakyReluGradient(0.1f, a.address, b.address, y.address, n);
        Arrays.setAll(e, i -> a.get(i) > 0 ? b.get(i) : 0.1f * b.get(i));
        y.check(e, 1e-7, 0, "leakyReluGradient");
        loops.shiftedExp(-0.5f, 3f, a.address, y.address, n);
        Arrays.setAll(e, i -> 3 * Math.exp(a.get(i) - 0.5));
        y.check(e, 5e-7, 0, "shiftedExp");
        loops.fill(7f, y.address, n);
        Arrays.fill(e, 7);
        y.check(e, 0, 0, "fill");
      }
    }
  }

  @Test
  void rowsAndColumnsBroadcast() {
    int[][] shapes = {{1, 5, 3}, {2, 7, 40}, {3, 100, 16}, {2, 3, 2100}, {1, 1, 1}, {0, 4, 4}};
    for (int[] shape : shapes) {
      int batches = shape[0];
      int rows = shape[1];
      int n = shape[2];
      NativeFloats a = NativeFloats.random(batches * rows * n, 1);
      NativeFloats b = NativeFloats.random(batches * n, 2);
      NativeFloats c = NativeFloats.random(batches * rows, 3);
      NativeFloats y = new NativeFloats(a.n);
      for (boolean reversed : new boolean[] {false, true}) {
        Elementwise.binaryRows(
            BinaryOp.SUB, a.address, b.address, y.address, batches, rows, n, reversed);
        for (int i = 0; i < a.n; i++) {
          float other = b.get(i / (rows * n) * n + i % n);
          assertEquals(reversed ? other - a.get(i) : a.get(i) - other, y.get(i));
        }
        Elementwise.binaryColumn(
            BinaryOp.SUB, a.address, c.address, y.address, batches * rows, n, reversed);
        for (int i = 0; i < a.n; i++) {
          float other = c.get(i / n);
          assertEquals(reversed ? other - a.get(i) : a.get(i) - other, y.get(i));
        }
      }
      y.checkGuards("broadcast");
    }
  }
}
