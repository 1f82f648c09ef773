// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.ChannelLoops;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.UnaryGradient;
import io.sfumato.tensor.cpu.UnaryOp;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** {@link ChannelLoops} over the Vector API. */
final class VectorChannelLoops implements ChannelLoops {
  private static final long B = N * 4L;
  private final ElementwiseLoops elementwise;

  VectorChannelLoops(ElementwiseLoops elementwise) {
    this.elementwise = elementwise;
  }

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
      long at = x + j * 4L;
      for (int r = 0; r < rows; r++) {
        s0 = s0.add(load(at));
        s1 = s1.add(load(at + B));
        s2 = s2.add(load(at + 2 * B));
        s3 = s3.add(load(at + 3 * B));
        at += stride;
      }
      long out = sum + j * 4L;
      store(s0, out);
      store(s1, out + B);
      store(s2, out + 2 * B);
      store(s3, out + 3 * B);
    }
    for (; j < width; j += N) {
      FloatVector s = all(0f);
      long at = x + j * 4L;
      for (int r = 0; r < rows; r++) {
        s = s.add(load(at));
        at += stride;
      }
      store(s, sum + j * 4L);
    }
  }

  @Override
  public void columnDeviations(long x, int rows, int width, long shift, long d1, long d2) {
    long stride = width * 4L;
    int j = 0;
    for (; j <= width - 2 * N; j += 2 * N) {
      FloatVector c0 = load(shift + j * 4L);
      FloatVector c1 = load(shift + j * 4L + B);
      FloatVector s0 = all(0f);
      FloatVector s1 = s0;
      FloatVector q0 = s0;
      FloatVector q1 = s0;
      long at = x + j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector a = load(at).sub(c0);
        FloatVector b = load(at + B).sub(c1);
        s0 = s0.add(a);
        s1 = s1.add(b);
        q0 = a.fma(a, q0);
        q1 = b.fma(b, q1);
        at += stride;
      }
      store(s0, d1 + j * 4L);
      store(s1, d1 + j * 4L + B);
      store(q0, d2 + j * 4L);
      store(q1, d2 + j * 4L + B);
    }
    for (; j < width; j += N) {
      FloatVector c = load(shift + j * 4L);
      FloatVector s = all(0f);
      FloatVector q = s;
      long at = x + j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector a = load(at).sub(c);
        s = s.add(a);
        q = a.fma(a, q);
        at += stride;
      }
      store(s, d1 + j * 4L);
      store(q, d2 + j * 4L);
    }
  }

  @Override
  public void columnMap(
      long x, long y, int rows, int width, long mean, long scale, long bias, boolean silu) {
    int group = Math.max(1, Lanes.BLOCK / width);
    for (int r = 0; r < rows; r += group) {
      int some = Math.min(group, rows - r);
      long at = (long) r * width * 4;
      mapRows(x + at, y + at, some, width, mean, scale, bias);
      if (silu) {
        UnaryVectors.run(UnaryOp.SILU, y + at, y + at, some * width);
      }
    }
  }

  /** One vector of columns at a time, its parameters in registers. */
  private static void mapRows(
      long x, long y, int rows, int width, long mean, long scale, long bias) {
    long stride = width * 4L;
    for (int j = 0; j < width; j += N) {
      FloatVector m = load(mean + j * 4L);
      FloatVector s = load(scale + j * 4L);
      FloatVector b = load(bias + j * 4L);
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        store(load(x + at).sub(m).fma(s, b), y + at);
        at += stride;
      }
    }
  }

  @Override
  public void columnGradientSums(
      long x,
      long dy,
      long dz,
      int rows,
      int width,
      long mean,
      long scale,
      long bias,
      long s1,
      long s2,
      boolean silu) {
    if (silu) {
      siluGradientRows(x, dy, dz, rows, width, mean, scale, bias);
    }
    long from = silu ? dz : dy;
    long stride = width * 4L;
    int j = 0;
    for (; j <= width - 2 * N; j += 2 * N) {
      FloatVector m0 = load(mean + j * 4L);
      FloatVector m1 = load(mean + j * 4L + B);
      FloatVector a0 = all(0f);
      FloatVector a1 = a0;
      FloatVector q0 = a0;
      FloatVector q1 = a0;
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector g0 = load(from + at);
        FloatVector g1 = load(from + at + B);
        a0 = a0.add(g0);
        a1 = a1.add(g1);
        q0 = load(x + at).sub(m0).fma(g0, q0);
        q1 = load(x + at + B).sub(m1).fma(g1, q1);
        at += stride;
      }
      store(a0, s1 + j * 4L);
      store(a1, s1 + j * 4L + B);
      store(q0, s2 + j * 4L);
      store(q1, s2 + j * 4L + B);
    }
    for (; j < width; j += N) {
      FloatVector m = load(mean + j * 4L);
      FloatVector a = all(0f);
      FloatVector q = a;
      long at = j * 4L;
      for (int r = 0; r < rows; r++) {
        FloatVector g = load(from + at);
        a = a.add(g);
        q = load(x + at).sub(m).fma(g, q);
        at += stride;
      }
      store(a, s1 + j * 4L);
      store(q, s2 + j * 4L);
    }
  }

  /** {@code dz = dy silu'(z)}; z goes through a block, for dz may be the memory of dy. */
  private static void siluGradientRows(
      long x, long dy, long dz, int rows, int width, long mean, long scale, long bias) {
    long z = Lanes.outerBlock();
    if (width > Lanes.BLOCK) {
      for (int r = 0; r < rows; r++) {
        for (int j = 0; j < width; j += Lanes.BLOCK) {
          int n = Math.min(Lanes.BLOCK, width - j);
          long c = j * 4L;
          long at = (long) r * width * 4 + c;
          mapRows(x + at, z, 1, n, mean + c, scale + c, bias + c);
          GradientVectors.run(UnaryGradient.SILU, z, dy + at, dz + at, n);
        }
      }
      return;
    }
    int group = Lanes.BLOCK / width;
    for (int r = 0; r < rows; r += group) {
      int some = Math.min(group, rows - r);
      long at = (long) r * width * 4;
      mapRows(x + at, z, some, width, mean, scale, bias);
      GradientVectors.run(UnaryGradient.SILU, z, dy + at, dz + at, some * width);
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
      FloatVector v = load(x + at).sub(load(mean + at)).fma(load(b + at), load(c + at));
      store(load(dz + at).fma(load(a + at), v), dx + at);
    }
  }

  @Override
  public void planeDeviations(long x, int n, float shift, double[] out) {
    FloatVector s0 = all(0f);
    FloatVector s1 = s0;
    FloatVector q0 = s0;
    FloatVector q1 = s0;
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * N) {
      FloatVector a = load(x + i * 4L).sub(shift);
      FloatVector b = load(x + i * 4L + B).sub(shift);
      s0 = s0.add(a);
      s1 = s1.add(b);
      q0 = a.fma(a, q0);
      q1 = b.fma(b, q1);
    }
    for (; i < n; i += N) {
      VectorMask<Float> m = first(Math.min(N, n - i));
      FloatVector a = all(0f).blend(load(x + i * 4L, m).sub(shift), m);
      s0 = s0.add(a);
      q0 = a.fma(a, q0);
    }
    out[0] = Lanes.sum(s0.add(s1));
    out[1] = Lanes.sum(q0.add(q1));
  }

  @Override
  public void planeMap(long x, long y, int n, float mean, float scale, float bias, boolean silu) {
    for (int i = 0; i < n; i += Lanes.BLOCK) {
      int m = Math.min(Lanes.BLOCK, n - i);
      long at = i * 4L;
      affine(x + at, y + at, m, mean, scale, bias);
      if (silu) {
        elementwise.unary(UnaryOp.SILU, y + at, y + at, m);
      }
    }
  }

  /** {@code y = (x - mean) scale + bias}. */
  private static void affine(long x, long y, int n, float mean, float scale, float bias) {
    int whole = whole(n);
    FloatVector factor = all(scale);
    FloatVector constant = all(bias);
    for (int i = 0; i < whole; i += N) {
      store(load(x + i * 4L).sub(mean).fma(factor, constant), y + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      store(load(x + whole * 4L, m).sub(mean).fma(factor, constant), y + whole * 4L, m);
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
    if (silu) {
      siluGradientPlane(x, dy, dz, n, mean, scale, bias);
    }
    long from = silu ? dz : dy;
    FloatVector a = all(0f);
    FloatVector q = a;
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      FloatVector g = load(from + i * 4L);
      a = a.add(g);
      q = load(x + i * 4L).sub(mean).fma(g, q);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      FloatVector g = load(from + whole * 4L, m);
      a = a.add(g);
      q = load(x + whole * 4L, m).sub(mean).fma(g, q);
    }
    out[0] = Lanes.sum(a);
    out[1] = Lanes.sum(q);
  }

  private void siluGradientPlane(
      long x, long dy, long dz, int n, float mean, float scale, float bias) {
    long z = Lanes.outerBlock();
    for (int i = 0; i < n; i += Lanes.BLOCK) {
      int m = Math.min(Lanes.BLOCK, n - i);
      long at = i * 4L;
      affine(x + at, z, m, mean, scale, bias);
      elementwise.gradient(UnaryGradient.SILU, z, dy + at, dz + at, m);
    }
  }

  @Override
  public void planeGradient(
      long x, long dz, long dx, int n, float mean, float a, float b, float c) {
    int whole = whole(n);
    FloatVector va = all(a);
    FloatVector vb = all(b);
    FloatVector vc = all(c);
    for (int i = 0; i < whole; i += N) {
      FloatVector v = load(x + i * 4L).sub(mean).fma(vb, vc);
      store(load(dz + i * 4L).fma(va, v), dx + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector v = load(x + at, m).sub(mean).fma(vb, vc);
      store(load(dz + at, m).fma(va, v), dx + at, m);
    }
  }
}
