// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Vector functions over all floats: zeros, subnormal and infinite ones, NaN, and huge angles. */
class FunctionAccuracyTest {
  private static final int COUNT = 1 << 13;

  @AfterEach
  void release() {
    NativeFloats.releaseAll();
  }

  /** Units in the last place by which a result may differ from the exact one. */
  private static double ulps(UnaryOp op) {
    return switch (op) {
      case LOG -> 1;
      case EXP -> 1.1;
      case SIN, TANH -> 1.75;
      default -> 2;
    };
  }

  @ParameterizedTest
  @EnumSource(names = {"EXP", "LOG", "SIN", "COS", "TANH", "SOFTPLUS"})
  void everyThousandthFloat(UnaryOp op) {
    check(op, 1009);
  }

  @Tag("slow")
  @ParameterizedTest
  @EnumSource(names = {"EXP", "LOG", "SIN", "COS", "TANH", "SOFTPLUS"})
  void everyFloat(UnaryOp op) {
    check(op, 1);
  }

  private static void check(UnaryOp op, int step) {
    ElementwiseLoops loops = Simd.provider().loops().elementwise();
    NativeFloats x = new NativeFloats(COUNT);
    NativeFloats y = new NativeFloats(COUNT);
    long bits = 0;
    while (bits < 1L << 32) {
      int n = 0;
      for (; n < COUNT && bits < 1L << 32; n++, bits += step) {
        x.set(n, Float.intBitsToFloat((int) bits));
      }
      loops.unary(op, x.address, y.address, n);
      for (int i = 0; i < n; i++) {
        check(op.name(), x.get(i), exact(op, x.get(i)), y.get(i), ulps(op));
      }
    }
  }

  private static double exact(UnaryOp op, float x) {
    return op == UnaryOp.SOFTPLUS && x < -30 ? Math.exp(x) : op.apply(x);
  }

  private static void check(String what, float x, double exact, float got, double ulps) {
    float rounded = (float) exact;
    boolean whole = Float.isNaN(rounded) || Float.isInfinite(rounded) || rounded == 0;
    if (whole
        ? Float.floatToIntBits(rounded) != Float.floatToIntBits(got)
        : !(Math.abs(got - exact) <= ulps * Math.ulp(rounded))) {
      throw new AssertionError(what + " of " + x + " should be " + exact + "; got " + got);
    }
  }

  private static final float[] EDGES = {
    0f,
    1,
    2,
    0.5f,
    3,
    Float.MIN_VALUE,
    Float.MIN_NORMAL,
    Float.MAX_VALUE,
    8388607,
    8388608,
    16777215,
    16777216,
    1e10f,
    0.99999994f,
    1.0000001f,
    4194303.5f,
    1.5f,
    Float.POSITIVE_INFINITY,
    Float.NaN
  };

  @Test
  void powers() {
    ElementwiseLoops loops = Simd.provider().loops().elementwise();
    NativeFloats a = new NativeFloats(COUNT);
    NativeFloats b = new NativeFloats(COUNT);
    NativeFloats y = new NativeFloats(COUNT);
    Random random = new Random(3);
    for (int kind = 0; kind < 200; kind++) {
      for (int i = 0; i < COUNT; i++) {
        if (kind == 0) {
          float u = EDGES[i % EDGES.length];
          float v = EDGES[i / EDGES.length % EDGES.length];
          a.set(i, (i >> 11 & 1) == 0 ? u : -u);
          b.set(i, (i >> 12 & 1) == 0 ? v : -v);
        } else if (kind % 4 == 0) { // any operands
          a.set(i, Float.intBitsToFloat(random.nextInt()));
          b.set(i, Float.intBitsToFloat(random.nextInt()));
        } else if (kind % 4 == 1) { // results all over the range
          a.set(i, (float) Math.exp(30 * random.nextGaussian()));
          b.set(i, (float) (5 * random.nextGaussian()));
        } else if (kind % 4 == 2) { // large powers of numbers near 1
          a.set(i, 1 + 1e-3f * (float) random.nextGaussian());
          b.set(i, 3e4f * (float) random.nextGaussian());
        } else { // whole powers of either sign
          a.set(i, 10 * (float) random.nextGaussian());
          b.set(i, random.nextInt(41) - 20);
        }
      }
      loops.binary(BinaryOp.POW, a.address, b.address, y.address, COUNT);
      for (int i = 0; i < COUNT; i++) {
        double exact = Math.pow(a.get(i), b.get(i));
        check("power " + b.get(i), a.get(i), exact, y.get(i), 0.55);
      }
      for (float s : new float[] {2, -1, 0.5f, 0}) {
        loops.binaryRight(BinaryOp.POW, a.address, s, y.address, COUNT);
        for (int i = 0; i < COUNT; i += 17) {
          check("power " + s, a.get(i), Math.pow(a.get(i), s), y.get(i), 0.55);
        }
      }
    }
    y.checkGuards("powers");
  }
}
