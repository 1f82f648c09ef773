// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.ReduceLoops;
import io.sfumato.tensor.cpu.RowLoops;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** {@link RowLoops} over the Vector API. */
final class VectorRowLoops implements RowLoops {
  private static final long B = N * 4L;
  private final ReduceLoops reduce;

  VectorRowLoops(ReduceLoops reduce) {
    this.reduce = reduce;
  }

  @Override
  public void softmax(long x, long y, int n) {
    float max = maxOrNan(x, n);
    double sum = ExpVectors.shiftedRowSum(x, max, y, n);
    scale(y, n, (float) (1 / sum));
  }

  private static void scale(long y, int n, float factor) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(y, i * 4L).mul(factor), y, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      store(load(y, whole * 4L, m).mul(factor), y, whole * 4L, m);
    }
  }

  /** The largest element, or NaN, or what is largest but for a NaN: exponentials bring that up. */
  private static float maxOrNan(long x, int n) {
    IntVector m0 = IntVector.broadcast(Lanes.I, ordered(Float.NEGATIVE_INFINITY));
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
    for (; i < whole(n); i += N) {
      m0 = m0.max(ordered(load(x, i * 4L)));
    }
    if (i < n) {
      VectorMask<Float> m = first(n - i);
      m1 = m1.max(ordered(all(Float.NEGATIVE_INFINITY).blend(load(x, i * 4L, m), m)));
    }
    int max = m0.max(m1).max(m2.max(m3)).reduceLanes(VectorOperators.MAX);
    return Float.intBitsToFloat(max ^ (max >> 31 & Integer.MAX_VALUE));
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

  @Override
  public void softmaxGradient(long y, long dy, long dx, int n) {
    float dot = (float) reduce.dot(y, dy, n);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(dy, i * 4L).sub(dot).mul(load(y, i * 4L)), dx, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(dy, at, m).sub(dot).mul(load(y, at, m)), dx, at, m);
    }
  }

  @Override
  public float logSumExp(long x, int n) {
    float max = maxOrNan(x, n);
    if (Float.isInfinite(max)) {
      return reduce.max(x, n);
    }
    return (float) (max + Math.log(expSum(x, n, max)));
  }

  @Override
  public void logSoftmax(long x, long y, int n) {
    float max = maxOrNan(x, n);
    float log = (float) Math.log(expSum(x, n, max));
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(x, i * 4L).sub(max).sub(log), y, i * 4L);
    }
    if (whole < n) {
      logSoftmaxRest(x + whole * 4L, y + whole * 4L, n - whole, max, log);
    }
  }

  /** At most a vector; apart from the loop, whose vectors are boxed beside masks. */
  private static void logSoftmaxRest(long x, long y, int n, float max, float log) {
    VectorMask<Float> m = first(n);
    store(load(x, m).sub(max).sub(log), y, m);
  }

  private static double expSum(long x, int n, float max) {
    long t = Lanes.block();
    double sum = 0;
    for (int i = 0; i < n; i += Lanes.BLOCK) {
      sum += ExpVectors.shiftedRowSum(x + i * 4L, max, t, Math.min(Lanes.BLOCK, n - i));
    }
    return sum;
  }

  @Override
  public void logSoftmaxGradient(long y, long dy, long dx, int n) {
    float sum = (float) reduce.sum(dy, n);
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
      subtractRest(dy + whole * 4L, p + whole * 4L, sum, dx + whole * 4L, n - whole);
    }
  }

  /** As {@link #logSoftmaxRest}. */
  private static void subtractRest(long dy, long p, float sum, long dx, int n) {
    VectorMask<Float> m = first(n);
    store(load(p, m).fma(all(-sum), load(dy, m)), dx, m);
  }

  @Override
  public double mean(long x, int n) {
    return reduce.sum(x, n) / n;
  }

  @Override
  public double squaredDeviations(long x, int n, float mean) {
    FloatVector s0 = all(0f);
    FloatVector s1 = s0;
    FloatVector q0 = s0;
    FloatVector q1 = s0;
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * N) {
      FloatVector a = load(x, i * 4L).sub(mean);
      FloatVector b = load(x, i * 4L + B).sub(mean);
      s0 = s0.add(a);
      s1 = s1.add(b);
      q0 = a.fma(a, q0);
      q1 = b.fma(b, q1);
    }
    for (; i < n; i += N) {
      VectorMask<Float> m = first(Math.min(N, n - i));
      FloatVector a = all(0f).blend(load(x, i * 4L, m).sub(mean), m);
      s0 = s0.add(a);
      q0 = a.fma(a, q0);
    }
    double s = Lanes.sum(s0.add(s1));
    return Lanes.sum(q0.add(q1)) - s * s / n;
  }

  @Override
  public void moments(long x, int rows, int n, double[] out) {
    RowVectors.moments(x, rows, n, out);
  }

  @Override
  public void normalize(long x, long y, int rows, int n, float[] stats, long weight, long bias) {
    RowVectors.normalize(x, y, rows, n, stats, weight, bias);
  }

  @Override
  public void normalizeGradient(
      long x,
      long dy,
      long dx,
      int rows,
      int n,
      float[] stats,
      long weight,
      boolean centred,
      long columnGain,
      long columnShift) {
    RowGradientVectors.run(x, dy, dx, rows, n, stats, weight, centred, columnGain, columnShift);
  }
}
