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

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * Gradients of the normalisation of rows, two at a time, so that the running sums of the columns
 * are loaded and stored once for two rows; four at a time are too much for the compiler's inlining
 * budget. The methods for one row make the same steps in the same order.
 */
final class RowGradientVectors {
  private RowGradientVectors() {}

  static void run(
      long x,
      long dy,
      long dx,
      int rows,
      int n,
      float[] stats,
      long weight,
      boolean centred,
      long gain,
      long shift) {
    float[] sums = Lanes.sums();
    long stride = n * 4L;
    int r = 0;
    for (; r < rows - 1; r += 2) {
      sums2(x + r * stride, dy + r * stride, n, stats, r, weight, gain, shift, sums, r * SLOT);
    }
    if (r < rows) {
      long at = r * stride;
      float rstd = stats[2 * r + 1];
      sums1(x + at, dy + at, n, stats[2 * r], rstd, weight, gain, shift, sums, r * SLOT);
    }
    for (r = 0; r < rows; r++) {
      double rstd = stats[2 * r + 1];
      int slot = r * SLOT;
      double g = Lanes.sum(sums, slot) / n;
      double gx = Lanes.sum(sums, slot + 4 * SLOT) / n;
      sums[slot] = centred ? (float) -(g * rstd) : 0f;
      sums[slot + 4 * SLOT] = (float) -(gx * rstd * rstd);
    }
    for (r = 0; r < rows - 1; r += 2) {
      long at = r * stride;
      gradient2(x + at, dy + at, dx + at, n, stats, r, weight, sums, r * SLOT);
    }
    if (r < rows) {
      long at = r * stride;
      gradient(x + at, dy + at, dx + at, n, stats, r, weight, sums, r * SLOT);
    }
  }

  /** Sums of g to {@code slot}, of {@code g x̂} four slots on; adds to the columns' sums. */
  private static void sums2(
      long x,
      long dy,
      int n,
      float[] stats,
      int row,
      long weight,
      long gain,
      long shift,
      float[] out,
      int slot) {
    long stride = n * 4L;
    FloatVector m0 = all(stats[2 * row + 2 * 0]);
    FloatVector m1 = all(stats[2 * row + 2 * 1]);
    FloatVector r0 = all(stats[2 * row + 2 * 0 + 1]);
    FloatVector r1 = all(stats[2 * row + 2 * 1 + 1]);
    FloatVector s0 = all(0f);
    FloatVector s1 = all(0f);
    FloatVector q0 = all(0f);
    FloatVector q1 = all(0f);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector w = load(weight, at);
      FloatVector h0 = load(x + 0 * stride, at).sub(m0).mul(r0);
      FloatVector h1 = load(x + 1 * stride, at).sub(m1).mul(r1);
      FloatVector d0 = load(dy + 0 * stride, at);
      FloatVector d1 = load(dy + 1 * stride, at);
      store(h1.fma(d1, h0.fma(d0, load(gain, at))), gain, at);
      store(load(shift, at).add(d0).add(d1), shift, at);
      d0 = d0.mul(w);
      d1 = d1.mul(w);
      s0 = s0.add(d0);
      s1 = s1.add(d1);
      q0 = h0.fma(d0, q0);
      q1 = h1.fma(d1, q1);
    }
    s0.intoArray(out, slot);
    s1.intoArray(out, slot + SLOT);
    q0.intoArray(out, slot + 4 * SLOT);
    q1.intoArray(out, slot + 5 * SLOT);
    for (int r = 0; whole < n && r < 2; r++) {
      long c = whole * 4L;
      long at = r * stride + c;
      float mean = stats[2 * (row + r)];
      float rstd = stats[2 * (row + r) + 1];
      int to = slot + r * SLOT;
      rest(x + at, dy + at, n - whole, mean, rstd, weight + c, gain + c, shift + c, out, to);
    }
  }

  private static void sums1(
      long x,
      long dy,
      int n,
      float mean,
      float rstd,
      long weight,
      long gain,
      long shift,
      float[] out,
      int slot) {
    FloatVector s = all(0f);
    FloatVector q = all(0f);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector h = load(x, at).sub(mean).mul(rstd);
      FloatVector d = load(dy, at);
      store(h.fma(d, load(gain, at)), gain, at);
      store(load(shift, at).add(d), shift, at);
      d = d.mul(load(weight, at));
      s = s.add(d);
      q = h.fma(d, q);
    }
    s.intoArray(out, slot);
    q.intoArray(out, slot + 4 * SLOT);
    if (whole < n) {
      long c = whole * 4L;
      rest(x + c, dy + c, n - whole, mean, rstd, weight + c, gain + c, shift + c, out, slot);
    }
  }

  /** What is left over after the whole vectors of a row. */
  private static void rest(
      long x,
      long dy,
      int n,
      float mean,
      float rstd,
      long weight,
      long gain,
      long shift,
      float[] out,
      int slot) {
    VectorMask<Float> m = first(n);
    FloatVector h = load(x, m).sub(mean).mul(rstd);
    FloatVector d = load(dy, m);
    store(h.fma(d, load(gain, m)), gain, m);
    store(load(shift, m).add(d), shift, m);
    d = d.mul(load(weight, m));
    FloatVector.fromArray(F, out, slot).add(d).intoArray(out, slot);
    int products = slot + 4 * SLOT;
    h.fma(d, FloatVector.fromArray(F, out, products)).intoArray(out, products);
  }

  /**
   * {@code dx = rstd dy weight + (x - mean) slope + constant} for two rows; the constants lie in
   * {@code lines} from {@code slot} on, the slopes four slots on.
   */
  private static void gradient2(
      long x,
      long dy,
      long dx,
      int n,
      float[] stats,
      int row,
      long weight,
      float[] lines,
      int slot) {
    long stride = n * 4L;
    FloatVector m0 = all(stats[2 * row]);
    FloatVector m1 = all(stats[2 * row + 2]);
    FloatVector r0 = all(stats[2 * row + 1]);
    FloatVector r1 = all(stats[2 * row + 3]);
    FloatVector c0 = all(lines[slot]);
    FloatVector c1 = all(lines[slot + SLOT]);
    FloatVector s0 = all(lines[slot + 4 * SLOT]);
    FloatVector s1 = all(lines[slot + 5 * SLOT]);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector w = load(weight, at);
      FloatVector v0 = load(x, at).sub(m0).fma(s0, c0);
      FloatVector v1 = load(x + stride, at).sub(m1).fma(s1, c1);
      store(load(dy, at).mul(w).fma(r0, v0), dx, at);
      store(load(dy + stride, at).mul(w).fma(r1, v1), dx + stride, at);
    }
    for (int r = 0; whole < n && r < 2; r++) {
      long c = whole * 4L;
      long at = r * stride + c;
      int line = slot + r * SLOT;
      gradient(x + at, dy + at, dx + at, n - whole, stats, row + r, weight + c, lines, line);
    }
  }

  /** As {@link #gradient2} for one row. */
  private static void gradient(
      long x,
      long dy,
      long dx,
      int n,
      float[] stats,
      int row,
      long weight,
      float[] lines,
      int slot) {
    float mean = stats[2 * row];
    FloatVector vc = all(lines[slot]);
    FloatVector vs = all(lines[slot + 4 * SLOT]);
    FloatVector vr = all(stats[2 * row + 1]);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector v = load(x, at).sub(mean).fma(vs, vc);
      store(load(dy, at).mul(load(weight, at)).fma(vr, v), dx, at);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector v = load(x, at, m).sub(mean).fma(vs, vc);
      store(load(dy, at, m).mul(load(weight, at, m)).fma(vr, v), dx, at, m);
    }
  }
}
