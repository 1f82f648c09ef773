// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.ReduceLoops;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** {@link ReduceLoops} over the Vector API, with four accumulators. */
final class VectorReduceLoops implements ReduceLoops {
  private static final long B = N * 4L;

  @Override
  public double sum(long x, int n) {
    FloatVector s0 = all(0f);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    int i = 0;
    for (; i <= n - 4 * N; i += 4 * N) {
      long at = i * 4L;
      s0 = s0.add(load(x, at));
      s1 = s1.add(load(x, at + B));
      s2 = s2.add(load(x, at + 2 * B));
      s3 = s3.add(load(x, at + 3 * B));
    }
    for (; i < whole(n); i += N) {
      s0 = s0.add(load(x, i * 4L));
    }
    if (i < n) {
      s1 = s1.add(load(x, i * 4L, first(n - i)));
    }
    return Lanes.sum(s0.add(s1).add(s2.add(s3)));
  }

  @Override
  public double sumOfSquares(long x, int n) {
    return dot(x, x, n);
  }

  @Override
  public double dot(long a, long b, int n) {
    FloatVector s0 = all(0f);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    int i = 0;
    for (; i <= n - 4 * N; i += 4 * N) {
      long at = i * 4L;
      s0 = load(a, at).fma(load(b, at), s0);
      s1 = load(a, at + B).fma(load(b, at + B), s1);
      s2 = load(a, at + 2 * B).fma(load(b, at + 2 * B), s2);
      s3 = load(a, at + 3 * B).fma(load(b, at + 3 * B), s3);
    }
    for (; i < whole(n); i += N) {
      s0 = load(a, i * 4L).fma(load(b, i * 4L), s0);
    }
    if (i < n) {
      VectorMask<Float> m = first(n - i);
      s1 = load(a, i * 4L, m).fma(load(b, i * 4L, m), s1);
    }
    return Lanes.sum(s0.add(s1).add(s2.add(s3)));
  }

  @Override
  public void dots(long a, long aStep, long b, long bStep, int n, double[] out) {
    float[] sums = Lanes.sums();
    int whole = whole(n);
    dots(whole, a, a + aStep, b, bStep, sums);
    for (int i = 0; i < DOT_ROWS * DOT_COLUMNS; i++) {
      double sum = Lanes.sum(sums, i * Lanes.SLOT);
      long x = a + i / DOT_COLUMNS * aStep;
      long y = b + i % DOT_COLUMNS * bStep;
      for (int p = whole; p < n; p++) {
        sum += (double) Memory.getFloat(x + 4L * p) * Memory.getFloat(y + 4L * p);
      }
      out[i] = sum;
    }
  }

  private static void dots(int n, long x0, long x1, long y, long step, float[] out) {
    FloatVector s0 = all(0f);
    FloatVector s1 = all(0f);
    FloatVector s2 = all(0f);
    FloatVector s3 = all(0f);
    FloatVector t0 = all(0f);
    FloatVector t1 = all(0f);
    FloatVector t2 = all(0f);
    FloatVector t3 = all(0f);
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector a = load(x0, at);
      FloatVector b = load(x1, at);
      FloatVector w0 = load(y, at);
      FloatVector w1 = load(y + step, at);
      FloatVector w2 = load(y + 2 * step, at);
      FloatVector w3 = load(y + 3 * step, at);
      s0 = a.fma(w0, s0);
      s1 = a.fma(w1, s1);
      s2 = a.fma(w2, s2);
      s3 = a.fma(w3, s3);
      t0 = b.fma(w0, t0);
      t1 = b.fma(w1, t1);
      t2 = b.fma(w2, t2);
      t3 = b.fma(w3, t3);
    }
    s0.intoArray(out, 0);
    s1.intoArray(out, Lanes.SLOT);
    s2.intoArray(out, 2 * Lanes.SLOT);
    s3.intoArray(out, 3 * Lanes.SLOT);
    t0.intoArray(out, 4 * Lanes.SLOT);
    t1.intoArray(out, 5 * Lanes.SLOT);
    t2.intoArray(out, 6 * Lanes.SLOT);
    t3.intoArray(out, 7 * Lanes.SLOT);
  }

  @Override
  public float max(long x, int n) {
    FloatVector m0 = all(Float.NEGATIVE_INFINITY);
    FloatVector m1 = m0;
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * N) {
      m0 = m0.max(load(x, i * 4L));
      m1 = m1.max(load(x, i * 4L + B));
    }
    for (; i < whole(n); i += N) {
      m0 = m0.max(load(x, i * 4L));
    }
    if (i < n) {
      VectorMask<Float> m = first(n - i);
      m1 = m1.max(all(Float.NEGATIVE_INFINITY).blend(load(x, i * 4L, m), m));
    }
    return m0.max(m1).reduceLanes(VectorOperators.MAX);
  }

  @Override
  public int firstAtLeast(long x, int from, int n, float bound) {
    FloatVector least = all(bound);
    int i = from;
    for (; i <= n - N; i += N) {
      VectorMask<Float> m = load(x, i * 4L).compare(VectorOperators.GE, least);
      if (m.anyTrue()) {
        return i + m.firstTrue();
      }
    }
    while (i < n && !(Memory.getFloat(x + i * 4L) >= bound)) {
      i++;
    }
    return i;
  }

  @Override
  public void addColumns(long x, long out, int rows, int n) {
    int j = 0;
    for (; j <= n - 4 * N; j += 4 * N) {
      addFourColumns(x + j * 4L, out + j * 4L, rows, n);
    }
    for (; j < n; j += N) {
      VectorMask<Float> m = first(Math.min(N, n - j));
      FloatVector s = load(out, j * 4L, m);
      for (int r = 0; r < rows; r++) {
        s = s.add(load(x, ((long) r * n + j) * 4, m));
      }
      store(s, out, j * 4L, m);
    }
  }

  private static void addFourColumns(long x, long out, int rows, int n) {
    FloatVector s0 = load(out);
    FloatVector s1 = load(out, B);
    FloatVector s2 = load(out, 2 * B);
    FloatVector s3 = load(out, 3 * B);
    for (int r = 0; r < rows; r++) {
      long at = (long) r * n * 4;
      s0 = s0.add(load(x, at));
      s1 = s1.add(load(x, at + B));
      s2 = s2.add(load(x, at + 2 * B));
      s3 = s3.add(load(x, at + 3 * B));
    }
    store(s0, out);
    store(s1, out, B);
    store(s2, out, 2 * B);
    store(s3, out, 3 * B);
  }

  @Override
  public void columnTotals(long x, int rows, int n, double[] out, int at) {
    int j = 0;
    for (; j <= n - N; j += N) {
      columnTotals(x + j * 4L, rows, n * 4L, out, at + j);
    }
    for (; j < n; j++) {
      out[at + j] = columnTotal(x + j * 4L, rows, n * 4L);
    }
  }

  // Apart, for the loop over columns runs once per call: it would stay interpreted for long.
  private static void columnTotals(long x, int rows, long stride, double[] out, int at) {
    DoubleVector s0 = DoubleVector.zero(Lanes.D);
    DoubleVector s1 = s0;
    for (int r = 0; r < rows; r++) {
      FloatVector v = load(x, r * stride);
      s0 = s0.add(v.convertShape(VectorOperators.F2D, Lanes.D, 0));
      s1 = s1.add(v.convertShape(VectorOperators.F2D, Lanes.D, 1));
    }
    s0.intoArray(out, at);
    s1.intoArray(out, at + N / 2);
  }

  private static double columnTotal(long x, int rows, long stride) {
    double s = 0;
    for (int r = 0; r < rows; r++) {
      s += Memory.getFloat(x + r * stride);
    }
    return s;
  }
}
