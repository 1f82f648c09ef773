// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Softmax of rows that follow each other. The last pass over a row, which only writes what the
 * cache holds, also makes the first pass over the next row, which waits for memory: so neither of
 * them costs time of its own. A row's results do not depend on its neighbours.
 *
 * <p>Maxima are taken over integers in the order of the floats. The integer of a row that has a NaN
 * is that NaN, or of what is largest but for it: exponentials bring it up.
 */
final class SoftmaxVectors {
  private static final long B = N * 4L;
  private static final int LEAST = ordered(Float.NEGATIVE_INFINITY);

  private SoftmaxVectors() {}

  static void softmax(long x, long y, int rows, int n) {
    long stride = n * 4L;
    float max = max(x, n);
    for (int r = 0; r < rows; r++) {
      long from = x + r * stride;
      long to = y + r * stride;
      float factor = (float) (1 / ExpVectors.shiftedRowSum(from, max, to, n));
      if (r == rows - 1) {
        scale(to, factor, n);
      } else {
        max = scaleAndMax(to, factor, from + stride, n);
      }
    }
  }

  static void logSoftmax(long x, long y, int rows, int n) {
    long stride = n * 4L;
    float max = max(x, n);
    for (int r = 0; r < rows; r++) {
      long from = x + r * stride;
      float log = (float) Math.log(expSum(from, max, n));
      if (r == rows - 1) {
        subtract(from, y + r * stride, max, log, n);
      } else {
        max = subtractAndMax(from, y + r * stride, max, log, from + stride, n);
      }
    }
  }

  /** {@code max + log Σ e^(x - max)}. */
  static float logSumExp(long x, float max, int n) {
    return (float) (max + Math.log(expSum(x, max, n)));
  }

  /** {@code Σ e^(x - max)}. */
  private static double expSum(long x, float max, int n) {
    long t = Lanes.block();
    double sum = 0;
    for (int i = 0; i < n; i += Lanes.BLOCK) {
      sum += ExpVectors.shiftedRowSum(x + i * 4L, max, t, Math.min(Lanes.BLOCK, n - i));
    }
    return sum;
  }

  /** The largest element, or NaN, or what is largest but for a NaN. */
  static float max(long x, int n) {
    int whole = whole(n);
    int max = maxVectors(x, whole);
    return value(whole < n ? Math.max(max, maxRest(x + whole * 4L, n - whole)) : max);
  }

  private static int maxVectors(long x, int n) {
    IntVector m0 = IntVector.broadcast(Lanes.I, LEAST);
    IntVector m1 = m0;
    IntVector m2 = m0;
    IntVector m3 = m0;
    int i = 0;
    for (; i <= n - 4 * N; i += 4 * N) {
      long at = i * 4L;
      m0 = m0.max(ordered(load(x, at)));
      m1 = m1.max(ordered(load(x, at + B)));
      m2 = m2.max(ordered(load(x, at + 2 * B)));
      m3 = m3.max(ordered(load(x, at + 3 * B)));
    }
    for (; i < n; i += N) {
      m0 = m0.max(ordered(load(x, i * 4L)));
    }
    return m0.max(m1).max(m2.max(m3)).reduceLanes(VectorOperators.MAX);
  }

  /** Of less than a vector; apart from the loops, whose vectors are boxed beside masks. */
  private static int maxRest(long x, int n) {
    VectorMask<Float> m = first(n);
    FloatVector v = all(Float.NEGATIVE_INFINITY).blend(load(x, m), m);
    return ordered(v).reduceLanes(VectorOperators.MAX);
  }

  /** {@code y *= factor}. */
  private static void scale(long y, float factor, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(y, i * 4L).mul(factor), y, i * 4L);
    }
    if (whole < n) {
      scaleRest(y + whole * 4L, factor, n - whole);
    }
  }

  private static void scaleRest(long y, float factor, int n) {
    VectorMask<Float> m = first(n);
    store(load(y, m).mul(factor), y, m);
  }

  /** {@link #scale}, and {@link #max} of the next row. */
  private static float scaleAndMax(long y, float factor, long next, int n) {
    int whole = whole(n);
    int max = scaleAndMaxVectors(y, factor, next, whole);
    if (whole < n) {
      scaleRest(y + whole * 4L, factor, n - whole);
      max = Math.max(max, maxRest(next + whole * 4L, n - whole));
    }
    return value(max);
  }

  private static int scaleAndMaxVectors(long y, float factor, long next, int n) {
    IntVector m0 = IntVector.broadcast(Lanes.I, LEAST);
    IntVector m1 = m0;
    FloatVector scale = all(factor);
    int step = Lanes.step();
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * step) {
      long at = i * 4L;
      m0 = m0.max(ordered(load(next, at)));
      m1 = m1.max(ordered(load(next, at + B)));
      store(load(y, at).mul(scale), y, at);
      store(load(y, at + B).mul(scale), y, at + B);
    }
    if (i < n) {
      long at = i * 4L;
      m0 = m0.max(ordered(load(next, at)));
      store(load(y, at).mul(scale), y, at);
    }
    return m0.max(m1).reduceLanes(VectorOperators.MAX);
  }

  /** {@code y = x - max - log}. */
  private static void subtract(long x, long y, float max, float log, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(x, i * 4L).sub(max).sub(log), y, i * 4L);
    }
    if (whole < n) {
      subtractRest(x + whole * 4L, y + whole * 4L, max, log, n - whole);
    }
  }

  private static void subtractRest(long x, long y, float max, float log, int n) {
    VectorMask<Float> m = first(n);
    store(load(x, m).sub(max).sub(log), y, m);
  }

  /** {@link #subtract}, and {@link #max} of the next row. */
  private static float subtractAndMax(long x, long y, float max, float log, long next, int n) {
    int whole = whole(n);
    int following = subtractAndMaxVectors(x, y, max, log, next, whole);
    if (whole < n) {
      subtractRest(x + whole * 4L, y + whole * 4L, max, log, n - whole);
      following = Math.max(following, maxRest(next + whole * 4L, n - whole));
    }
    return value(following);
  }

  private static int subtractAndMaxVectors(long x, long y, float max, float log, long next, int n) {
    IntVector following = IntVector.broadcast(Lanes.I, LEAST);
    FloatVector shift = all(max);
    FloatVector constant = all(log);
    int step = Lanes.step();
    for (int i = 0; i < n; i += step) {
      long at = i * 4L;
      following = following.max(ordered(load(next, at)));
      store(load(x, at).sub(shift).sub(constant), y, at);
    }
    return following.reduceLanes(VectorOperators.MAX);
  }

  /** Integers in the order of the floats, negative NaN first, positive NaN last. */
  private static IntVector ordered(FloatVector v) {
    IntVector bits = v.reinterpretAsInts();
    return bits.lanewise(VectorOperators.ASHR, 31)
        .and(Integer.MAX_VALUE)
        .lanewise(VectorOperators.XOR, bits);
  }

  private static int ordered(float v) {
    int bits = Float.floatToRawIntBits(v);
    return bits ^ (bits >> 31 & Integer.MAX_VALUE);
  }

  /** The float of an {@link #ordered} integer. */
  private static float value(int ordered) {
    return Float.intBitsToFloat(ordered ^ (ordered >> 31 & Integer.MAX_VALUE));
  }

  /** {@code dx = y (dy - dot)}. */
  static void gradient(long y, long dy, long dx, float dot, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      store(load(dy, at).sub(dot).mul(load(y, at)), dx, at);
    }
    if (whole < n) {
      long at = whole * 4L;
      gradientRest(y + at, dy + at, dx + at, dot, n - whole);
    }
  }

  private static void gradientRest(long y, long dy, long dx, float dot, int n) {
    VectorMask<Float> m = first(n);
    store(load(dy, m).sub(dot).mul(load(y, m)), dx, m);
  }

  /** {@code dx = dy - e^y sum}, {@code y} being the logarithms. */
  static void logGradient(long y, long dy, long dx, float sum, int n) {
    long t = Lanes.block();
    for (int i = 0; i < n; i += Lanes.BLOCK) {
      int m = Math.min(Lanes.BLOCK, n - i);
      ExpVectors.shiftedRow(y + i * 4L, 0f, t, m);
      subtractScaled(dy + i * 4L, t, sum, dx + i * 4L, m);
    }
  }

  /** {@code dx = dy - p sum}. */
  private static void subtractScaled(long dy, long p, float sum, long dx, int n) {
    int whole = whole(n);
    FloatVector factor = all(-sum);
    for (int i = 0; i < whole; i += N) {
      store(load(p, i * 4L).fma(factor, load(dy, i * 4L)), dx, i * 4L);
    }
    if (whole < n) {
      long at = whole * 4L;
      subtractScaledRest(dy + at, p + at, sum, dx + at, n - whole);
    }
  }

  private static void subtractScaledRest(long dy, long p, float sum, long dx, int n) {
    VectorMask<Float> m = first(n);
    store(load(p, m).fma(all(-sum), load(dy, m)), dx, m);
  }
}
