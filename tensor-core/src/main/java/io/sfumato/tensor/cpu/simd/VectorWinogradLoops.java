// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;

import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.WinogradLoops;
import jdk.incubator.vector.FloatVector;

/**
 * {@link WinogradLoops} over the Vector API. What is left after the whole vectors goes through the
 * same loop once more on a padded copy.
 */
final class VectorWinogradLoops implements WinogradLoops {
  private static final long B = 4L * N;

  @Override
  public void combine(
      boolean add,
      int pixels,
      int channels,
      long a,
      long strideA,
      long b,
      long strideB,
      long to,
      long toStride) {
    int vectors = channels / N;
    int rest = channels % N;
    if (rest == 0 && strideA == channels && strideB == channels && toStride == channels) {
      vectors *= pixels;
      pixels = 1;
    }
    long end = vectors * B;
    for (int p = 0; p < pixels; p++) {
      if (add) {
        sum(vectors, a, b, to);
      } else {
        difference(vectors, a, b, to);
      }
      for (long i = end; i < end + 4L * rest; i += 4) {
        float x = Memory.getFloat(a + i);
        float y = Memory.getFloat(b + i);
        Memory.putFloat(to + i, add ? x + y : x - y);
      }
      a += 4 * strideA;
      b += 4 * strideB;
      to += 4 * toStride;
    }
  }

  private static void sum(int vectors, long a, long b, long to) {
    for (int v = 0; v < vectors; v++) {
      store(load(a).add(load(b)), to);
      a += B;
      b += B;
      to += B;
    }
  }

  private static void difference(int vectors, long a, long b, long to) {
    for (int v = 0; v < vectors; v++) {
      store(load(a).sub(load(b)), to);
      a += B;
      b += B;
      to += B;
    }
  }

  @Override
  public void inputColumns(
      int tiles, int channels, long t, long pixel, long to, long width, long step) {
    int vectors = channels / N;
    for (int tile = 0; tile < tiles; tile++) {
      inputTile(vectors, t, 4 * pixel, to, 4 * step);
      t += 8 * pixel;
      to += 4 * width;
    }
  }

  private static void inputTile(int vectors, long t, long pixel, long to, long step) {
    long pixels2 = 2 * pixel;
    long pixels3 = 3 * pixel;
    long steps2 = 2 * step;
    long steps3 = 3 * step;
    for (int v = 0; v < vectors; v++) {
      FloatVector t1 = load(t, pixel);
      FloatVector t2 = load(t, pixels2);
      store(load(t).sub(t2), to);
      store(t1.add(t2), to, step);
      store(t2.sub(t1), to, steps2);
      store(load(t, pixels3).sub(t1), to, steps3);
      t += B;
      to += B;
    }
  }

  @Override
  public void gradientColumns(
      int tiles, int channels, long t, long pixel, long to, long width, long step) {
    int vectors = channels / N;
    for (int tile = 0; tile < tiles; tile++) {
      gradientTile(vectors, t, 4 * pixel, to, 4 * step);
      t += 8 * pixel;
      to += 4 * width;
    }
  }

  private static void gradientTile(int vectors, long t, long pixel, long to, long step) {
    long steps2 = 2 * step;
    long steps3 = 3 * step;
    for (int v = 0; v < vectors; v++) {
      FloatVector t0 = load(t);
      FloatVector t1 = load(t, pixel);
      store(t0, to);
      store(t0.add(t1), to, step);
      store(t0.sub(t1), to, steps2);
      store(t1, to, steps3);
      t += B;
      to += B;
    }
  }

  @Override
  public void outputRows(int n, long m, long step, long u0, long u1) {
    long steps1 = 4 * step;
    long steps2 = 8 * step;
    long steps3 = 12 * step;
    for (int v = 0; v < n; v += N) {
      FloatVector m1 = load(m, steps1);
      FloatVector m2 = load(m, steps2);
      store(load(m).add(m1).add(m2), u0);
      store(m1.sub(m2).add(load(m, steps3)), u1);
      m += B;
      u0 += B;
      u1 += B;
    }
  }

  @Override
  public void outputColumns(
      int tiles,
      int channels,
      long u,
      long width,
      long step,
      long bias,
      long y0,
      long y1,
      long stride) {
    int vectors = channels / N;
    int rest = channels % N;
    long end = vectors * B;
    for (int tile = 0; tile < tiles; tile++) {
      outputTile(vectors, u, 4 * step, bias, y0, y1);
      if (rest > 0) {
        long pad = Lanes.pads();
        Lanes.copyRest(bias + end, pad + 2 * B, rest);
        outputTile(1, u + end, 4 * step, pad + 2 * B, pad, pad + B);
        Lanes.copyRest(pad, y0 + end, rest);
        Lanes.copyRest(pad + B, y1 + end, rest);
      }
      u += 4 * width;
      y0 += 4 * stride;
      y1 += 4 * stride;
    }
  }

  private static void outputTile(int vectors, long u, long step, long bias, long y0, long y1) {
    long steps2 = 2 * step;
    long steps3 = 3 * step;
    for (int v = 0; v < vectors; v++) {
      FloatVector b = load(bias);
      FloatVector u1 = load(u, step);
      FloatVector u2 = load(u, steps2);
      store(load(u).add(b).add(u1).add(u2), y0);
      store(u1.add(b).sub(u2).add(load(u, steps3)), y1);
      u += B;
      bias += B;
      y0 += B;
      y1 += B;
    }
  }

  @Override
  public void weights(long taps, long tapStep, int n, long to, long step) {
    long row = 12 * tapStep;
    for (int r = 0; r < 4; r++) {
      long at = to + 16 * r * step;
      switch (r) {
        case 0 -> copiedWeights(taps, 4 * tapStep, n, at, 4 * step);
        case 3 -> copiedWeights(taps + 2 * row, 4 * tapStep, n, at, 4 * step);
        default -> mixedWeights(r == 1 ? 0.5f : -0.5f, taps, 4 * tapStep, n, at, 4 * step);
      }
    }
  }

  private static void copiedWeights(long from, long tap, int n, long to, long step) {
    FloatVector half = Lanes.all(0.5f);
    for (long i = 0; i < 4L * n; i += 4L * N) {
      FloatVector t0 = load(from, i);
      FloatVector t2 = load(from, 2 * tap + i);
      FloatVector odd = load(from, tap + i).mul(half);
      FloatVector even = t0.add(t2).mul(half);
      store(t0, to, i);
      store(even.add(odd), to, step + i);
      store(even.sub(odd), to, 2 * step + i);
      store(t2, to, 3 * step + i);
    }
  }

  private static void mixedWeights(float sign, long from, long tap, int n, long to, long step) {
    FloatVector half = Lanes.all(0.5f);
    FloatVector signed = Lanes.all(sign);
    long row1 = from + 3 * tap;
    long row2 = from + 6 * tap;
    for (long i = 0; i < 4L * n; i += 4L * N) {
      FloatVector t0 = load(from, i).add(load(row2, i)).mul(half).add(load(row1, i).mul(signed));
      FloatVector t1 =
          load(from, tap + i)
              .add(load(row2, tap + i))
              .mul(half)
              .add(load(row1, tap + i).mul(signed));
      FloatVector t2 =
          load(from, 2 * tap + i)
              .add(load(row2, 2 * tap + i))
              .mul(half)
              .add(load(row1, 2 * tap + i).mul(signed));
      FloatVector odd = t1.mul(half);
      FloatVector even = t0.add(t2).mul(half);
      store(t0, to, i);
      store(even.add(odd), to, step + i);
      store(even.sub(odd), to, 2 * step + i);
      store(t2, to, 3 * step + i);
    }
  }

  @Override
  public void weightGradient(long m, long step, int n, long taps, long tapStep) {
    long row = 16 * step;
    outerTaps(m, m + row, m + 2 * row, 4 * step, n, taps, 4 * tapStep);
    middleTaps(m + row, m + 2 * row, 4 * step, n, taps + 12 * tapStep, 4 * tapStep);
    outerTaps(m + 3 * row, m + row, m + 2 * row, 4 * step, n, taps + 24 * tapStep, 4 * tapStep);
  }

  /** A row of taps from {@code m + (p + q) / 2}. */
  private static void outerTaps(long m, long p, long q, long step, int n, long taps, long tap) {
    FloatVector half = Lanes.all(0.5f);
    for (long i = 0; i < 4L * n; i += 4L * N) {
      FloatVector t0 = load(p, i).add(load(q, i)).mul(half).add(load(m, i));
      long j = i + step;
      FloatVector t1 = load(p, j).add(load(q, j)).mul(half).add(load(m, j));
      j += step;
      FloatVector t2 = load(p, j).add(load(q, j)).mul(half).add(load(m, j));
      j += step;
      FloatVector t3 = load(p, j).add(load(q, j)).mul(half).add(load(m, j));
      FloatVector mean = t1.add(t2).mul(half);
      store(t0.add(mean), taps, i);
      store(t1.sub(t2).mul(half), taps, tap + i);
      store(t3.add(mean), taps, 2 * tap + i);
    }
  }

  /** A row of taps from {@code (p - q) / 2}. */
  private static void middleTaps(long p, long q, long step, int n, long taps, long tap) {
    FloatVector half = Lanes.all(0.5f);
    for (long i = 0; i < 4L * n; i += 4L * N) {
      FloatVector t0 = load(p, i).sub(load(q, i)).mul(half);
      long j = i + step;
      FloatVector t1 = load(p, j).sub(load(q, j)).mul(half);
      j += step;
      FloatVector t2 = load(p, j).sub(load(q, j)).mul(half);
      j += step;
      FloatVector t3 = load(p, j).sub(load(q, j)).mul(half);
      FloatVector mean = t1.add(t2).mul(half);
      store(t0.add(mean), taps, i);
      store(t1.sub(t2).mul(half), taps, tap + i);
      store(t3.add(mean), taps, 2 * tap + i);
    }
  }
}
