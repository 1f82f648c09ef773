// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.ChannelLoops;
import io.sfumato.tensor.cpu.Memory;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** {@link ChannelLoops} over the Vector API. */
final class VectorChannelLoops implements ChannelLoops {
  private static final long B = N * 4L;

  /**
   * From so wide rows on, rows are passed one behind the other, as memory likes it, with sums in
   * the L1 cache; else columns, with sums in registers.
   */
  private static final int WIDE = 256;

  VectorChannelLoops() {}

  @Override
  public int lanes() {
    return N;
  }

  @Override
  public void columnSums(long x, int rows, int width, long sum) {
    long stride = width * 4L;
    int j = 0;
    for (; j <= width - 4 * N; j += 4 * N) {
      FloatVector s0 = all(0f);
      FloatVector s1 = s0;
      FloatVector s2 = s0;
      FloatVector s3 = s0;
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        s0 = s0.add(load(x, at));
        s1 = s1.add(load(x, at + B));
        s2 = s2.add(load(x, at + 2 * B));
        s3 = s3.add(load(x, at + 3 * B));
        at += stride;
      }
      long out = sum + j * 4L;
      store(s0, out);
      store(s1, out, B);
      store(s2, out, 2 * B);
      store(s3, out, 3 * B);
    }
    for (; j < width; j += N) {
      FloatVector s = all(0f);
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        s = s.add(load(x, at));
        at += stride;
      }
      store(s, sum, j * 4L);
    }
  }

  @Override
  public void columnDeviations(long x, int rows, int width, long shift, long d1, long d2) {
    long stride = width * 4L;
    if (width >= WIDE) {
      Memory.zero(d1, stride);
      Memory.zero(d2, stride);
      int r = 0;
      for (; r <= rows - 4; r += 4) {
        addDeviations4(x + r * stride, stride, width, shift, d1, d2);
      }
      for (; r < rows; r++) {
        addDeviations(x + r * stride, width, shift, d1, d2);
      }
      return;
    }
    int j = 0;
    for (; j <= width - 2 * N; j += 2 * N) {
      FloatVector c0 = load(shift, j * 4L);
      FloatVector c1 = load(shift, j * 4L + B);
      FloatVector s0 = all(0f);
      FloatVector s1 = s0;
      FloatVector q0 = s0;
      FloatVector q1 = s0;
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector a = load(x, at).sub(c0);
        FloatVector b = load(x, at + B).sub(c1);
        s0 = s0.add(a);
        s1 = s1.add(b);
        q0 = a.fma(a, q0);
        q1 = b.fma(b, q1);
        at += stride;
      }
      store(s0, d1, j * 4L);
      store(s1, d1, j * 4L + B);
      store(q0, d2, j * 4L);
      store(q1, d2, j * 4L + B);
    }
    for (; j < width; j += N) {
      FloatVector c = load(shift, j * 4L);
      FloatVector s = all(0f);
      FloatVector q = s;
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector a = load(x, at).sub(c);
        s = s.add(a);
        q = a.fma(a, q);
        at += stride;
      }
      store(s, d1, j * 4L);
      store(q, d2, j * 4L);
    }
  }

  private static void addDeviations4(long x, long stride, int n, long shift, long d1, long d2) {
    for (int j = 0; j < n; j += N) {
      long at = j * 4L;
      FloatVector c = load(shift, at);
      FloatVector a0 = load(x, at).sub(c);
      FloatVector a1 = load(x + stride, at).sub(c);
      FloatVector a2 = load(x + 2 * stride, at).sub(c);
      FloatVector a3 = load(x + 3 * stride, at).sub(c);
      store(load(d1, at).add(a0.add(a1).add(a2.add(a3))), d1, at);
      store(load(d2, at).add(a0.fma(a0, a1.mul(a1)).add(a2.fma(a2, a3.mul(a3)))), d2, at);
    }
  }

  private static void addDeviations(long x, int n, long shift, long d1, long d2) {
    for (int j = 0; j < n; j += N) {
      long at = j * 4L;
      FloatVector a = load(x, at).sub(load(shift, at));
      store(load(d1, at).add(a), d1, at);
      store(a.fma(a, load(d2, at)), d2, at);
    }
  }

  @Override
  public void columnMap(
      long x, long y, int rows, int width, long mean, long scale, long bias, boolean silu) {
    for (int r = 0; r < rows; r++) {
      long at = (long) r * width * 4;
      if (silu) {
        SiluVectors.mapRow(x + at, y + at, width, mean, scale, bias);
      } else {
        mapRow(x + at, y + at, width, mean, scale, bias);
      }
    }
  }

  private static void mapRow(long x, long y, int n, long mean, long scale, long bias) {
    for (int j = 0; j < n; j += N) {
      long at = j * 4L;
      FloatVector v = load(x, at).sub(load(mean, at));
      store(v.fma(load(scale, at), load(bias, at)), y, at);
    }
  }

  @Override
  public void columnSiluGradient(
      long x, long dy, long dz, int rows, int width, long mean, long scale, long bias) {
    for (int r = 0; r < rows; r++) {
      long at = (long) r * width * 4;
      SiluVectors.gradientRow(x + at, dy + at, dz + at, width, mean, scale, bias);
    }
  }

  @Override
  public void columnGradientSums(
      long x, long from, int rows, int width, long mean, long s1, long s2) {
    long stride = width * 4L;
    if (width >= WIDE) {
      int r = 0;
      for (; r <= rows - 2; r += 2) {
        addGradients2(x + r * stride, from + r * stride, stride, width, mean, s1, s2);
      }
      for (; r < rows; r++) {
        addGradients(x + r * stride, from + r * stride, width, mean, s1, s2);
      }
      return;
    }
    int j = 0;
    for (; j <= width - 2 * N; j += 2 * N) {
      FloatVector m0 = load(mean, j * 4L);
      FloatVector m1 = load(mean, j * 4L + B);
      FloatVector a0 = load(s1, j * 4L);
      FloatVector a1 = load(s1, j * 4L + B);
      FloatVector q0 = load(s2, j * 4L);
      FloatVector q1 = load(s2, j * 4L + B);
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector g0 = load(from, at);
        FloatVector g1 = load(from, at + B);
        a0 = a0.add(g0);
        a1 = a1.add(g1);
        q0 = load(x, at).sub(m0).fma(g0, q0);
        q1 = load(x, at + B).sub(m1).fma(g1, q1);
        at += stride;
      }
      store(a0, s1, j * 4L);
      store(a1, s1, j * 4L + B);
      store(q0, s2, j * 4L);
      store(q1, s2, j * 4L + B);
    }
    for (; j < width; j += N) {
      FloatVector m = load(mean, j * 4L);
      FloatVector a = load(s1, j * 4L);
      FloatVector q = load(s2, j * 4L);
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector g = load(from, at);
        a = a.add(g);
        q = load(x, at).sub(m).fma(g, q);
        at += stride;
      }
      store(a, s1, j * 4L);
      store(q, s2, j * 4L);
    }
  }

  private static void addGradients2(
      long x, long dz, long stride, int n, long mean, long s1, long s2) {
    for (int j = 0; j < n; j += N) {
      long at = j * 4L;
      FloatVector m = load(mean, at);
      FloatVector g0 = load(dz, at);
      FloatVector g1 = load(dz + stride, at);
      FloatVector q = load(x, at).sub(m).mul(g0);
      q = load(x + stride, at).sub(m).fma(g1, q);
      store(load(s1, at).add(g0.add(g1)), s1, at);
      store(load(s2, at).add(q), s2, at);
    }
  }

  private static void addGradients(long x, long dz, int n, long mean, long s1, long s2) {
    for (int j = 0; j < n; j += N) {
      long at = j * 4L;
      FloatVector g = load(dz, at);
      store(load(s1, at).add(g), s1, at);
      store(load(x, at).sub(load(mean, at)).fma(g, load(s2, at)), s2, at);
    }
  }

  @Override
  public void columnGradient(
      long x, long dz, long dx, int rows, int width, long mean, long a, long b, long c) {
    for (int r = 0; r < rows; r++) {
      long at = (long) r * width * 4;
      gradientRow(x + at, dz + at, dx + at, width, mean, a, b, c);
    }
  }

  private static void gradientRow(
      long x, long dz, long dx, int n, long mean, long a, long b, long c) {
    for (int j = 0; j < n; j += N) {
      long at = j * 4L;
      FloatVector v = load(x, at).sub(load(mean, at)).fma(load(b, at), load(c, at));
      store(load(dz, at).fma(load(a, at), v), dx, at);
    }
  }

  @Override
  public void planeDeviations(long x, int n, float shift, double[] out) {
    float[] sums = Lanes.sums();
    deviations(x, n, shift, sums);
    out[0] = Lanes.sum(sums, 0);
    out[1] = Lanes.sum(sums, Lanes.SLOT);
  }

  private static void deviations(long x, int n, float shift, float[] out) {
    FloatVector c = all(shift);
    FloatVector s0 = all(0f);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    FloatVector q0 = s0;
    FloatVector q1 = s0;
    FloatVector q2 = s0;
    FloatVector q3 = s0;
    int i = 0;
    for (; i <= n - 4 * N; i += 4 * N) {
      long at = i * 4L;
      FloatVector d0 = load(x, at).sub(c);
      FloatVector d1 = load(x, at + B).sub(c);
      FloatVector d2 = load(x, at + 2 * B).sub(c);
      FloatVector d3 = load(x, at + 3 * B).sub(c);
      s0 = s0.add(d0);
      s1 = s1.add(d1);
      s2 = s2.add(d2);
      s3 = s3.add(d3);
      q0 = d0.fma(d0, q0);
      q1 = d1.fma(d1, q1);
      q2 = d2.fma(d2, q2);
      q3 = d3.fma(d3, q3);
    }
    s0 = s0.add(s1).add(s2.add(s3));
    q0 = q0.add(q1).add(q2.add(q3));
    for (; i < n; i += N) {
      VectorMask<Float> m = first(Math.min(N, n - i));
      FloatVector a = all(0f).blend(load(x, i * 4L, m).sub(c), m);
      s0 = s0.add(a);
      q0 = a.fma(a, q0);
    }
    s0.intoArray(out, 0);
    q0.intoArray(out, Lanes.SLOT);
  }

  @Override
  public void planeMap(long x, long y, int n, float mean, float scale, float bias, boolean silu) {
    if (silu) {
      SiluVectors.mapPlane(x, y, n, mean, scale, bias);
    } else {
      affine(x, y, n, mean, scale, bias);
    }
  }

  /** {@code y = (x - mean) scale + bias}. */
  private static void affine(long x, long y, int n, float mean, float scale, float bias) {
    int whole = whole(n);
    FloatVector factor = all(scale);
    FloatVector constant = all(bias);
    for (int i = 0; i < whole; i += N) {
      store(load(x, i * 4L).sub(mean).fma(factor, constant), y, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      store(load(x, whole * 4L, m).sub(mean).fma(factor, constant), y, whole * 4L, m);
    }
  }

  @Override
  public void planeGradientSums(
      long x,
      long dy,
      long dz,
      int n,
      float mean,
      float scale,
      float bias,
      double[] out,
      boolean silu) {
    long from = dy;
    if (silu) {
      SiluVectors.gradientPlane(x, dy, dz, n, mean, scale, bias);
      from = dz;
    }
    float[] sums = Lanes.sums();
    gradientSums(x, from, n, mean, sums);
    out[0] = Lanes.sum(sums, 0);
    out[1] = Lanes.sum(sums, Lanes.SLOT);
  }

  private static void gradientSums(long x, long dz, int n, float mean, float[] out) {
    FloatVector c = all(mean);
    FloatVector a0 = all(0f);
    FloatVector a1 = a0;
    FloatVector q0 = a0;
    FloatVector q1 = a0;
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * N) {
      long at = i * 4L;
      FloatVector g0 = load(dz, at);
      FloatVector g1 = load(dz, at + B);
      a0 = a0.add(g0);
      a1 = a1.add(g1);
      q0 = load(x, at).sub(c).fma(g0, q0);
      q1 = load(x, at + B).sub(c).fma(g1, q1);
    }
    a0.add(a1).intoArray(out, 0);
    q0.add(q1).intoArray(out, Lanes.SLOT);
    for (; i < n; i += N) {
      gradientRest(x + i * 4L, dz + i * 4L, Math.min(N, n - i), mean, out);
    }
  }

  /**
   * Adds the sums of at most a vector; apart from the loop, for beside masks its sums are boxed.
   */
  private static void gradientRest(long x, long dz, int n, float mean, float[] out) {
    VectorMask<Float> m = first(n);
    FloatVector g = load(dz, m);
    FloatVector.fromArray(Lanes.F, out, 0).add(g).intoArray(out, 0);
    FloatVector q = FloatVector.fromArray(Lanes.F, out, Lanes.SLOT);
    load(x, m).sub(mean).fma(g, q).intoArray(out, Lanes.SLOT);
  }

  @Override
  public void planeGradient(
      long x, long dz, long dx, int n, float mean, float a, float b, float c) {
    int whole = whole(n);
    FloatVector va = all(a);
    FloatVector vb = all(b);
    FloatVector vc = all(c);
    for (int i = 0; i < whole; i += N) {
      FloatVector v = load(x, i * 4L).sub(mean).fma(vb, vc);
      store(load(dz, i * 4L).fma(va, v), dx, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector v = load(x, at, m).sub(mean).fma(vb, vc);
      store(load(dz, at, m).fma(va, v), dx, at, m);
    }
  }
}
