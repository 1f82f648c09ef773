// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.WinogradLoops;
import jdk.incubator.vector.FloatVector;

/**
 * {@link WinogradLoops} over the Vector API. What is left after the whole vectors goes through the
 * same loop once more on a padded copy.
 */
final class VectorWinogradLoops implements WinogradLoops {
  private static final long PAD = 64;

  @Override
  public void inputRow(
      boolean add,
      long a0,
      long a1,
      long a2,
      long a3,
      long b0,
      long b1,
      long b2,
      long b3,
      int channels,
      long to,
      long step) {
    long end = 4L * whole(channels);
    if (add) {
      addedRow(a0, a1, a2, a3, b0, b1, b2, b3, end, to, 4 * step);
    } else {
      subtractedRow(a0, a1, a2, a3, b0, b1, b2, b3, end, to, 4 * step);
    }
    int rest = channels - whole(channels);
    if (rest > 0) {
      long pad = Lanes.pads();
      Lanes.copyRest(a0 + end, pad, rest);
      Lanes.copyRest(a1 + end, pad + PAD, rest);
      Lanes.copyRest(a2 + end, pad + 2 * PAD, rest);
      Lanes.copyRest(a3 + end, pad + 3 * PAD, rest);
      Lanes.copyRest(b0 + end, pad + 4 * PAD, rest);
      Lanes.copyRest(b1 + end, pad + 5 * PAD, rest);
      Lanes.copyRest(b2 + end, pad + 6 * PAD, rest);
      Lanes.copyRest(b3 + end, pad + 7 * PAD, rest);
      inputRow(
          add,
          pad,
          pad + PAD,
          pad + 2 * PAD,
          pad + 3 * PAD,
          pad + 4 * PAD,
          pad + 5 * PAD,
          pad + 6 * PAD,
          pad + 7 * PAD,
          N,
          to + end,
          step);
    }
  }

  private static void addedRow(
      long a0,
      long a1,
      long a2,
      long a3,
      long b0,
      long b1,
      long b2,
      long b3,
      long end,
      long to,
      long step) {
    long to1 = to + step;
    long to2 = to1 + step;
    long to3 = to2 + step;
    for (long i = 0; i < end; i += 4L * N) {
      FloatVector t0 = load(a0 + i).add(load(b0 + i));
      FloatVector t1 = load(a1 + i).add(load(b1 + i));
      FloatVector t2 = load(a2 + i).add(load(b2 + i));
      FloatVector t3 = load(a3 + i).add(load(b3 + i));
      store(t0.sub(t2), to + i);
      store(t1.add(t2), to1 + i);
      store(t2.sub(t1), to2 + i);
      store(t3.sub(t1), to3 + i);
    }
  }

  private static void subtractedRow(
      long a0,
      long a1,
      long a2,
      long a3,
      long b0,
      long b1,
      long b2,
      long b3,
      long end,
      long to,
      long step) {
    long to1 = to + step;
    long to2 = to1 + step;
    long to3 = to2 + step;
    for (long i = 0; i < end; i += 4L * N) {
      FloatVector t0 = load(a0 + i).sub(load(b0 + i));
      FloatVector t1 = load(a1 + i).sub(load(b1 + i));
      FloatVector t2 = load(a2 + i).sub(load(b2 + i));
      FloatVector t3 = load(a3 + i).sub(load(b3 + i));
      store(t0.sub(t2), to + i);
      store(t1.add(t2), to1 + i);
      store(t2.sub(t1), to2 + i);
      store(t3.sub(t1), to3 + i);
    }
  }

  @Override
  public void gradientRow(
      boolean add, long a0, long a1, long b0, long b1, int channels, long to, long step) {
    long end = 4L * whole(channels);
    if (add) {
      addedGradientRow(a0, a1, b0, b1, end, to, 4 * step);
    } else {
      subtractedGradientRow(a0, a1, b0, b1, end, to, 4 * step);
    }
    int rest = channels - whole(channels);
    if (rest > 0) {
      long pad = Lanes.pads();
      Lanes.copyRest(a0 + end, pad, rest);
      Lanes.copyRest(a1 + end, pad + PAD, rest);
      Lanes.copyRest(b0 + end, pad + 2 * PAD, rest);
      Lanes.copyRest(b1 + end, pad + 3 * PAD, rest);
      gradientRow(add, pad, pad + PAD, pad + 2 * PAD, pad + 3 * PAD, N, to + end, step);
    }
  }

  private static void addedGradientRow(
      long a0, long a1, long b0, long b1, long end, long to, long step) {
    for (long i = 0; i < end; i += 4L * N) {
      FloatVector t0 = load(a0 + i).add(load(b0 + i));
      FloatVector t1 = load(a1 + i).add(load(b1 + i));
      store(t0, to + i);
      store(t0.add(t1), to + step + i);
      store(t0.sub(t1), to + 2 * step + i);
      store(t1, to + 3 * step + i);
    }
  }

  private static void subtractedGradientRow(
      long a0, long a1, long b0, long b1, long end, long to, long step) {
    for (long i = 0; i < end; i += 4L * N) {
      FloatVector t0 = load(a0 + i).sub(load(b0 + i));
      FloatVector t1 = load(a1 + i).sub(load(b1 + i));
      store(t0, to + i);
      store(t0.add(t1), to + step + i);
      store(t0.sub(t1), to + 2 * step + i);
      store(t1, to + 3 * step + i);
    }
  }

  @Override
  public void output(
      long m, long step, long bias, int channels, long y00, long y01, long y10, long y11) {
    long end = 4L * whole(channels);
    outputVectors(m, 4 * step, bias, end, y00, y01, y10, y11);
    int rest = channels - whole(channels);
    if (rest > 0) {
      long pad = Lanes.pads();
      Lanes.copyRest(bias + end, pad + 4 * PAD, rest);
      outputVectors(
          m + end, 4 * step, pad + 4 * PAD, 4L * N, pad, pad + PAD, pad + 2 * PAD, pad + 3 * PAD);
      Lanes.copyRest(pad, y00 + end, rest);
      Lanes.copyRest(pad + PAD, y01 + end, rest);
      Lanes.copyRest(pad + 2 * PAD, y10 + end, rest);
      Lanes.copyRest(pad + 3 * PAD, y11 + end, rest);
    }
  }

  private static void outputVectors(
      long m, long step, long bias, long end, long y00, long y01, long y10, long y11) {
    long row1 = m + 4 * step;
    long row2 = m + 8 * step;
    long row3 = m + 12 * step;
    long s2 = 2 * step;
    long s3 = 3 * step;
    for (long i = 0; i < end; i += 4L * N) {
      FloatVector b = load(bias + i);
      FloatVector p = load(row1 + i);
      FloatVector q = load(row2 + i);
      FloatVector u = load(m + i).add(p).add(q);
      FloatVector v = p.sub(q).add(load(row3 + i));
      FloatVector top = u.add(b);
      FloatVector bottom = v.add(b);
      p = load(row1 + step + i);
      q = load(row2 + step + i);
      u = load(m + step + i).add(p).add(q);
      v = p.sub(q).add(load(row3 + step + i));
      top = top.add(u);
      bottom = bottom.add(v);
      FloatVector top1 = u.add(b);
      FloatVector bottom1 = v.add(b);
      p = load(row1 + s2 + i);
      q = load(row2 + s2 + i);
      u = load(m + s2 + i).add(p).add(q);
      v = p.sub(q).add(load(row3 + s2 + i));
      store(top.add(u), y00 + i);
      store(bottom.add(v), y10 + i);
      p = load(row1 + s3 + i);
      q = load(row2 + s3 + i);
      store(top1.sub(u).add(load(m + s3 + i).add(p).add(q)), y01 + i);
      store(bottom1.sub(v).add(p.sub(q).add(load(row3 + s3 + i))), y11 + i);
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
      FloatVector t0 = load(from + i);
      FloatVector t2 = load(from + 2 * tap + i);
      FloatVector odd = load(from + tap + i).mul(half);
      FloatVector even = t0.add(t2).mul(half);
      store(t0, to + i);
      store(even.add(odd), to + step + i);
      store(even.sub(odd), to + 2 * step + i);
      store(t2, to + 3 * step + i);
    }
  }

  private static void mixedWeights(float sign, long from, long tap, int n, long to, long step) {
    FloatVector half = Lanes.all(0.5f);
    FloatVector signed = Lanes.all(sign);
    long row1 = from + 3 * tap;
    long row2 = from + 6 * tap;
    for (long i = 0; i < 4L * n; i += 4L * N) {
      FloatVector t0 = load(from + i).add(load(row2 + i)).mul(half).add(load(row1 + i).mul(signed));
      FloatVector t1 =
          load(from + tap + i)
              .add(load(row2 + tap + i))
              .mul(half)
              .add(load(row1 + tap + i).mul(signed));
      FloatVector t2 =
          load(from + 2 * tap + i)
              .add(load(row2 + 2 * tap + i))
              .mul(half)
              .add(load(row1 + 2 * tap + i).mul(signed));
      FloatVector odd = t1.mul(half);
      FloatVector even = t0.add(t2).mul(half);
      store(t0, to + i);
      store(even.add(odd), to + step + i);
      store(even.sub(odd), to + 2 * step + i);
      store(t2, to + 3 * step + i);
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
      FloatVector t0 = load(p + i).add(load(q + i)).mul(half).add(load(m + i));
      long j = i + step;
      FloatVector t1 = load(p + j).add(load(q + j)).mul(half).add(load(m + j));
      j += step;
      FloatVector t2 = load(p + j).add(load(q + j)).mul(half).add(load(m + j));
      j += step;
      FloatVector t3 = load(p + j).add(load(q + j)).mul(half).add(load(m + j));
      FloatVector mean = t1.add(t2).mul(half);
      store(t0.add(mean), taps + i);
      store(t1.sub(t2).mul(half), taps + tap + i);
      store(t3.add(mean), taps + 2 * tap + i);
    }
  }

  /** A row of taps from {@code (p - q) / 2}. */
  private static void middleTaps(long p, long q, long step, int n, long taps, long tap) {
    FloatVector half = Lanes.all(0.5f);
    for (long i = 0; i < 4L * n; i += 4L * N) {
      FloatVector t0 = load(p + i).sub(load(q + i)).mul(half);
      long j = i + step;
      FloatVector t1 = load(p + j).sub(load(q + j)).mul(half);
      j += step;
      FloatVector t2 = load(p + j).sub(load(q + j)).mul(half);
      j += step;
      FloatVector t3 = load(p + j).sub(load(q + j)).mul(half);
      FloatVector mean = t1.add(t2).mul(half);
      store(t0.add(mean), taps + i);
      store(t1.sub(t2).mul(half), taps + tap + i);
      store(t3.add(mean), taps + 2 * tap + i);
    }
  }
}
