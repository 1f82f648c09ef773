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
    float max = maxIgnoringNan(x, n);
    double sum = ExpVectors.shiftedRowSum(x, max, y, n);
    scale(y, n, (float) (1 / sum));
  }

  private static void scale(long y, int n, float factor) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(y + i * 4L).mul(factor), y + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      store(load(y + whole * 4L, m).mul(factor), y + whole * 4L, m);
    }
  }

  /** The largest element; a NaN is passed over, for the exponentials bring it up again. */
  private static float maxIgnoringNan(long x, int n) {
    FloatVector m0 = all(Float.NEGATIVE_INFINITY);
    FloatVector m1 = m0;
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * N) {
      FloatVector a = load(x + i * 4L);
      FloatVector b = load(x + i * 4L + B);
      m0 = m0.blend(a, a.compare(VectorOperators.GT, m0));
      m1 = m1.blend(b, b.compare(VectorOperators.GT, m1));
    }
    for (; i < n; i += N) {
      VectorMask<Float> m = first(Math.min(N, n - i));
      FloatVector a = load(x + i * 4L, m);
      m0 = m0.blend(a, a.compare(VectorOperators.GT, m0).and(m));
    }
    m0 = m0.blend(m1, m1.compare(VectorOperators.GT, m0));
    return m0.reduceLanes(VectorOperators.MAX);
  }

  @Override
  public void softmaxGradient(long y, long dy, long dx, int n) {
    float dot = (float) reduce.dot(y, dy, n);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(dy + i * 4L).sub(dot).mul(load(y + i * 4L)), dx + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(dy + at, m).sub(dot).mul(load(y + at, m)), dx + at, m);
    }
  }

  @Override
  public float logSumExp(long x, int n) {
    float max = maxIgnoringNan(x, n);
    if (Float.isInfinite(max)) {
      return reduce.max(x, n);
    }
    return (float) (max + Math.log(expSum(x, n, max)));
  }

  @Override
  public void logSoftmax(long x, long y, int n) {
    float max = maxIgnoringNan(x, n);
    float log = (float) Math.log(expSum(x, n, max));
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(x + i * 4L).sub(max).sub(log), y + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      store(load(x + whole * 4L, m).sub(max).sub(log), y + whole * 4L, m);
    }
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
      store(load(p + i * 4L).fma(factor, load(dy + i * 4L)), dx + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(p + at, m).fma(factor, load(dy + at, m)), dx + at, m);
    }
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
      FloatVector a = load(x + i * 4L).sub(mean);
      FloatVector b = load(x + i * 4L + B).sub(mean);
      s0 = s0.add(a);
      s1 = s1.add(b);
      q0 = a.fma(a, q0);
      q1 = b.fma(b, q1);
    }
    for (; i < n; i += N) {
      VectorMask<Float> m = first(Math.min(N, n - i));
      FloatVector a = all(0f).blend(load(x + i * 4L, m).sub(mean), m);
      s0 = s0.add(a);
      q0 = a.fma(a, q0);
    }
    double s = Lanes.sum(s0.add(s1));
    return Lanes.sum(q0.add(q1)) - s * s / n;
  }

  @Override
  public void normalize(long x, long y, int n, float mean, float rstd, long weight, long bias) {
    int whole = whole(n);
    if (weight == 0) {
      for (int i = 0; i < whole; i += N) {
        store(load(x + i * 4L).sub(mean).mul(rstd), y + i * 4L);
      }
    } else {
      for (int i = 0; i < whole; i += N) {
        long at = i * 4L;
        FloatVector v = load(x + at).sub(mean).mul(rstd);
        store(v.fma(load(weight + at), load(bias + at)), y + at);
      }
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector v = load(x + at, m).sub(mean).mul(rstd);
      if (weight != 0) {
        v = v.fma(load(weight + at, m), load(bias + at, m));
      }
      store(v, y + at, m);
    }
  }

  @Override
  public void normalizeGradient(
      long x,
      long dy,
      long dx,
      int n,
      float mean,
      float rstd,
      long weight,
      boolean centred,
      long columnGain,
      long columnShift) {
    if (columnGain != 0) {
      addParameterGradients(x, dy, n, mean, rstd, columnGain, columnShift);
    }
    if (dx == 0) {
      return;
    }
    long sums = Lanes.pads();
    if (weight == 0) {
      plainSums(x, dy, n, mean, rstd, sums);
    } else {
      weightedSums(x, dy, n, mean, rstd, weight, sums);
    }
    double g = Lanes.sum(load(sums)) / n;
    double gx = Lanes.sum(load(sums + 64)) / n;
    float constant = centred ? (float) -g : 0f;
    if (weight == 0) {
      plainGradient(x, dy, dx, n, mean, rstd, constant, (float) -gx);
    } else {
      weightedGradient(x, dy, dx, n, mean, rstd, weight, constant, (float) -gx);
    }
  }

  private static void addParameterGradients(
      long x, long dy, int n, float mean, float rstd, long gain, long shift) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector g = load(dy + at);
      FloatVector v = load(x + at).sub(mean).mul(rstd);
      store(v.fma(g, load(gain + at)), gain + at);
      store(g.add(load(shift + at)), shift + at);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector g = load(dy + at, m);
      FloatVector v = load(x + at, m).sub(mean).mul(rstd);
      store(v.fma(g, load(gain + at, m)), gain + at, m);
      store(g.add(load(shift + at, m)), shift + at, m);
    }
  }

  private static void plainSums(long x, long dy, int n, float mean, float rstd, long out) {
    FloatVector s = all(0f);
    FloatVector q = s;
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      FloatVector g = load(dy + i * 4L);
      s = s.add(g);
      q = load(x + i * 4L).sub(mean).mul(rstd).fma(g, q);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      FloatVector g = load(dy + whole * 4L, m);
      s = s.add(g);
      q = load(x + whole * 4L, m).sub(mean).mul(rstd).fma(g, q);
    }
    store(s, out);
    store(q, out + 64);
  }

  private static void weightedSums(
      long x, long dy, int n, float mean, float rstd, long weight, long out) {
    FloatVector s = all(0f);
    FloatVector q = s;
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      FloatVector g = load(dy + i * 4L).mul(load(weight + i * 4L));
      s = s.add(g);
      q = load(x + i * 4L).sub(mean).mul(rstd).fma(g, q);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      FloatVector g = load(dy + whole * 4L, m).mul(load(weight + whole * 4L, m));
      s = s.add(g);
      q = load(x + whole * 4L, m).sub(mean).mul(rstd).fma(g, q);
    }
    store(s, out);
    store(q, out + 64);
  }

  private static void plainGradient(
      long x, long dy, long dx, int n, float mean, float rstd, float constant, float slope) {
    int whole = whole(n);
    FloatVector vs = all(slope);
    for (int i = 0; i < whole; i += N) {
      FloatVector g = load(dy + i * 4L).add(constant);
      store(load(x + i * 4L).sub(mean).mul(rstd).fma(vs, g).mul(rstd), dx + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector g = load(dy + at, m).add(constant);
      store(load(x + at, m).sub(mean).mul(rstd).fma(vs, g).mul(rstd), dx + at, m);
    }
  }

  private static void weightedGradient(
      long x,
      long dy,
      long dx,
      int n,
      float mean,
      float rstd,
      long weight,
      float constant,
      float slope) {
    int whole = whole(n);
    FloatVector vs = all(slope);
    FloatVector vc = all(constant);
    for (int i = 0; i < whole; i += N) {
      FloatVector g = load(dy + i * 4L).fma(load(weight + i * 4L), vc);
      store(load(x + i * 4L).sub(mean).mul(rstd).fma(vs, g).mul(rstd), dx + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector g = load(dy + at, m).fma(load(weight + at, m), vc);
      store(load(x + at, m).sub(mean).mul(rstd).fma(vs, g).mul(rstd), dx + at, m);
    }
  }
}
