// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.F;
import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.SLOT;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.Pilot;
import io.sfumato.tensor.cpu.RowLoops;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * Moments and normalisation of rows, four at a time: while the sums of one row wait for each other,
 * those of its neighbours go on. The methods for one row make the same steps in the same order.
 *
 * <p>Moments are taken around a {@link Pilot}.
 */
final class RowVectors {
  /**
   * Columns whose sums are taken in f32 before they go on in double. Few lanes would have to hold
   * more each: without shorter sums, a few values far from the rest cost the mean its last digit.
   */
  static final int SUMMED = N < 16 ? 32 * N : 256 * N;

  private RowVectors() {}

  static void moments(long x, int rows, int n, double[] out) {
    float[] sums = Lanes.sums();
    long stride = n * 4L;
    float c0 = Pilot.of(x, n);
    if (rows == RowLoops.GROUP) {
      float c1 = Pilot.of(x + stride, n);
      float c2 = Pilot.of(x + 2 * stride, n);
      float c3 = Pilot.of(x + 3 * stride, n);
      Arrays.fill(out, 0, 2 * RowLoops.GROUP, 0);
      for (int i = 0; i < n; i += SUMMED) {
        deviations4(x + i * 4L, stride, Math.min(SUMMED, n - i), c0, c1, c2, c3, sums);
        for (int r = 0; r < RowLoops.GROUP; r++) {
          out[2 * r] += Lanes.sum(sums, r * SLOT);
          out[2 * r + 1] += Lanes.sum(sums, (r + RowLoops.GROUP) * SLOT);
        }
      }
      finish(x, c0, n, out, 0, sums);
      finish(x + stride, c1, n, out, 2, sums);
      finish(x + 2 * stride, c2, n, out, 4, sums);
      finish(x + 3 * stride, c3, n, out, 6, sums);
      return;
    }
    for (int r = 0; r < rows; r++) {
      long row = x + r * stride;
      float pilot = Pilot.of(row, n);
      around(row, pilot, n, out, 2 * r, sums);
      finish(row, pilot, n, out, 2 * r, sums);
    }
  }

  /** From sums around a pilot to mean and sum around it, if need be by a second pass. */
  private static void finish(long x, float pilot, int n, double[] out, int at, float[] sums) {
    double s = out[at];
    double q = out[at + 1];
    float c = pilot;
    if (!Pilot.serves(s, q, n)) {
      c = (float) (pilot + s / n);
      around(x, c, n, out, at, sums);
      s = out[at];
      q = out[at + 1];
    }
    out[at] = c + s / n;
    out[at + 1] = Math.max(0, q - s * s / n);
  }

  /** {@code Σ (x - c)} and {@code Σ (x - c)²} of one row. */
  private static void around(long x, float c, int n, double[] out, int at, float[] sums) {
    double s = 0;
    double q = 0;
    for (int i = 0; i < n; i += SUMMED) {
      deviations1(x + i * 4L, Math.min(SUMMED, n - i), c, sums);
      s += Lanes.sum(sums, 0);
      q += Lanes.sum(sums, 4 * SLOT);
    }
    out[at] = s;
    out[at + 1] = q;
  }

  /** Sums of {@code x - m} to slots 0 to 3, of its squares to slots 4 to 7. */
  private static void deviations4(
      long x, long stride, int n, float m0, float m1, float m2, float m3, float[] out) {
    FloatVector s0 = all(0f);
    FloatVector s1 = all(0f);
    FloatVector s2 = all(0f);
    FloatVector s3 = all(0f);
    FloatVector q0 = all(0f);
    FloatVector q1 = all(0f);
    FloatVector q2 = all(0f);
    FloatVector q3 = all(0f);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector d0 = load(x + 0 * stride, at).sub(m0);
      FloatVector d1 = load(x + 1 * stride, at).sub(m1);
      FloatVector d2 = load(x + 2 * stride, at).sub(m2);
      FloatVector d3 = load(x + 3 * stride, at).sub(m3);
      s0 = s0.add(d0);
      s1 = s1.add(d1);
      s2 = s2.add(d2);
      s3 = s3.add(d3);
      q0 = d0.fma(d0, q0);
      q1 = d1.fma(d1, q1);
      q2 = d2.fma(d2, q2);
      q3 = d3.fma(d3, q3);
    }
    s0.intoArray(out, 0 * SLOT);
    s1.intoArray(out, 1 * SLOT);
    s2.intoArray(out, 2 * SLOT);
    s3.intoArray(out, 3 * SLOT);
    q0.intoArray(out, (4 + 0) * SLOT);
    q1.intoArray(out, (4 + 1) * SLOT);
    q2.intoArray(out, (4 + 2) * SLOT);
    q3.intoArray(out, (4 + 3) * SLOT);
    if (whole < n) {
      long at = x + whole * 4L;
      rest(at + 0 * stride, n - whole, m0, out, 0 * SLOT);
      rest(at + 1 * stride, n - whole, m1, out, 1 * SLOT);
      rest(at + 2 * stride, n - whole, m2, out, 2 * SLOT);
      rest(at + 3 * stride, n - whole, m3, out, 3 * SLOT);
    }
  }

  /**
   * Adds what is left over after the whole vectors. In a method of its own: with masked operations
   * beside its loop, the accumulators of that loop were boxed in programs that had compiled much.
   */
  private static void rest(long x, int n, float mean, float[] out, int slot) {
    VectorMask<Float> m = first(n);
    FloatVector d = all(0f).blend(load(x, m).sub(mean), m);
    FloatVector.fromArray(F, out, slot).add(d).intoArray(out, slot);
    int squares = slot + 4 * SLOT;
    d.fma(d, FloatVector.fromArray(F, out, squares)).intoArray(out, squares);
  }

  private static void deviations1(long x, int n, float mean, float[] out) {
    FloatVector s = all(0f);
    FloatVector q = all(0f);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      FloatVector d = load(x, i * 4L).sub(mean);
      s = s.add(d);
      q = d.fma(d, q);
    }
    s.intoArray(out, 0);
    q.intoArray(out, 4 * SLOT);
    if (whole < n) {
      rest(x + whole * 4L, n - whole, mean, out, 0);
    }
  }

  static void normalize(long x, long y, int rows, int n, float[] stats, long weight, long bias) {
    long stride = n * 4L;
    if (weight != 0 && rows == RowLoops.GROUP) {
      affine4(x, y, stride, n, stats, weight, bias);
      return;
    }
    for (int r = 0; r < rows; r++) {
      long at = r * stride;
      if (weight == 0) {
        plain(x + at, y + at, n, stats[2 * r], stats[2 * r + 1]);
      } else {
        affine(x + at, y + at, n, stats[2 * r], stats[2 * r + 1], weight, bias);
      }
    }
  }

  private static void affine4(
      long x, long y, long stride, int n, float[] stats, long weight, long bias) {
    FloatVector m0 = all(stats[2 * 0]);
    FloatVector m1 = all(stats[2 * 1]);
    FloatVector m2 = all(stats[2 * 2]);
    FloatVector m3 = all(stats[2 * 3]);
    FloatVector r0 = all(stats[2 * 0 + 1]);
    FloatVector r1 = all(stats[2 * 1 + 1]);
    FloatVector r2 = all(stats[2 * 2 + 1]);
    FloatVector r3 = all(stats[2 * 3 + 1]);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector w = load(weight, at);
      FloatVector b = load(bias, at);
      store(load(x + 0 * stride, at).sub(m0).mul(r0).fma(w, b), y + 0 * stride, at);
      store(load(x + 1 * stride, at).sub(m1).mul(r1).fma(w, b), y + 1 * stride, at);
      store(load(x + 2 * stride, at).sub(m2).mul(r2).fma(w, b), y + 2 * stride, at);
      store(load(x + 3 * stride, at).sub(m3).mul(r3).fma(w, b), y + 3 * stride, at);
    }
    for (int r = 0; whole < n && r < RowLoops.GROUP; r++) {
      long at = r * stride + whole * 4L;
      long c = whole * 4L;
      affine(x + at, y + at, n - whole, stats[2 * r], stats[2 * r + 1], weight + c, bias + c);
    }
  }

  private static void affine(
      long x, long y, int n, float mean, float rstd, long weight, long bias) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector v = load(x, at).sub(mean).mul(rstd);
      store(v.fma(load(weight, at), load(bias, at)), y, at);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector v = load(x, at, m).sub(mean).mul(rstd);
      store(v.fma(load(weight, at, m), load(bias, at, m)), y, at, m);
    }
  }

  private static void plain(long x, long y, int n, float mean, float rstd) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(x, i * 4L).sub(mean).mul(rstd), y, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(x, at, m).sub(mean).mul(rstd), y, at, m);
    }
  }
}
