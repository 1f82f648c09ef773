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

import io.sfumato.tensor.cpu.Memory;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * Gradients of the normalisation of rows. A row's gradient needs two sums over the row, and is then
 * written from what the cache holds; the same pass takes the sums of the next row, which come from
 * memory, so that neither waits for the other. The first row's sums are taken alone, by the same
 * steps in the same order. One row at a time: streams of several rows end the processor's fetching
 * ahead sooner than what is loaded once for all of them saves.
 *
 * @param n row length
 * @param mean means of the rows, or 0 if they are all 0
 * @param rstd factors of the rows
 * @param weight weights
 * @param centred whether the mean of the gradient is subtracted
 * @param gain running sums of the columns, {@code dy x̂}
 * @param shift running sums of the columns, {@code dy}
 */
record RowGradientVectors(
    int n, long mean, long rstd, long weight, boolean centred, long gain, long shift) {

  /** {@code dx = factor dy weight + (x - mean) slope + constant}: a row's line. */
  private static final int MEAN = 0;

  private static final int FACTOR = 1;
  private static final int SLOPE = 2;
  private static final int CONSTANT = 3;

  void run(long x, long dy, long dx, int rows) {
    float[] sums = Lanes.sums();
    float[] line = new float[4];
    long stride = n * 4L;
    float m = mean == 0 ? 0f : Memory.getFloat(mean);
    float k = Memory.getFloat(rstd);
    sums(x, dy, n, m, k, weight, gain, shift, sums);
    for (int r = 0; r < rows; r++) {
      long at = r * stride;
      line(m, k, sums, line);
      if (r == rows - 1) {
        gradient(x + at, dy + at, dx + at, n, line, weight);
      } else {
        long next = (r + 1) * 4L;
        m = mean == 0 ? 0f : Memory.getFloat(mean + next);
        k = Memory.getFloat(rstd + next);
        both(x + at, dy + at, dx + at, n, line, m, k, weight, gain, shift, sums);
      }
    }
  }

  /** The line of a row, from its sums of {@code g} and of {@code g x̂}. */
  private void line(float m, float rstd, float[] sums, float[] line) {
    double k = rstd;
    double g = Lanes.sum(sums, 0) / n;
    double gx = Lanes.sum(sums, SLOT) / n;
    line[MEAN] = m;
    line[FACTOR] = rstd;
    line[SLOPE] = (float) -(gx * k * k);
    line[CONSTANT] = centred ? (float) -(g * k) : 0f;
  }

  /** Sums of g to the first slot, of {@code g x̂} to the second; adds to the columns' sums. */
  private static void sums(
      long x,
      long dy,
      int n,
      float mean,
      float rstd,
      long weight,
      long gain,
      long shift,
      float[] out) {
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
    s.intoArray(out, 0);
    q.intoArray(out, SLOT);
    if (whole < n) {
      long c = whole * 4L;
      sumsRest(x + c, dy + c, n - whole, mean, rstd, weight + c, gain + c, shift + c, out);
    }
  }

  /** Of less than a vector; apart from the loops, whose vectors are boxed beside masks. */
  private static void sumsRest(
      long x,
      long dy,
      int n,
      float mean,
      float rstd,
      long weight,
      long gain,
      long shift,
      float[] out) {
    VectorMask<Float> m = first(n);
    FloatVector h = load(x, m).sub(mean).mul(rstd);
    FloatVector d = load(dy, m);
    store(h.fma(d, load(gain, m)), gain, m);
    store(load(shift, m).add(d), shift, m);
    d = d.mul(load(weight, m));
    FloatVector.fromArray(F, out, 0).add(d).intoArray(out, 0);
    h.fma(d, FloatVector.fromArray(F, out, SLOT)).intoArray(out, SLOT);
  }

  private static void gradient(long x, long dy, long dx, int n, float[] line, long weight) {
    float mean = line[MEAN];
    FloatVector factor = all(line[FACTOR]);
    FloatVector slope = all(line[SLOPE]);
    FloatVector constant = all(line[CONSTANT]);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector v = load(x, at).sub(mean).fma(slope, constant);
      store(load(dy, at).mul(load(weight, at)).fma(factor, v), dx, at);
    }
    if (whole < n) {
      long c = whole * 4L;
      gradientRest(x + c, dy + c, dx + c, n - whole, line, weight + c);
    }
  }

  private static void gradientRest(long x, long dy, long dx, int n, float[] line, long weight) {
    VectorMask<Float> m = first(n);
    FloatVector v = load(x, m).sub(line[MEAN]).fma(all(line[SLOPE]), all(line[CONSTANT]));
    store(load(dy, m).mul(load(weight, m)).fma(all(line[FACTOR]), v), dx, m);
  }

  /** {@link #gradient} of a row, and {@link #sums} of the next, whose mean and factor are given. */
  private static void both(
      long x,
      long dy,
      long dx,
      int n,
      float[] line,
      float nextMean,
      float nextRstd,
      long weight,
      long gain,
      long shift,
      float[] out) {
    long stride = n * 4L;
    float mean = line[MEAN];
    FloatVector factor = all(line[FACTOR]);
    FloatVector slope = all(line[SLOPE]);
    FloatVector constant = all(line[CONSTANT]);
    FloatVector s = all(0f);
    FloatVector q = all(0f);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector w = load(weight, at);
      FloatVector v = load(x, at).sub(mean).fma(slope, constant);
      store(load(dy, at).mul(w).fma(factor, v), dx, at);
      FloatVector h = load(x + stride, at).sub(nextMean).mul(nextRstd);
      FloatVector d = load(dy + stride, at);
      store(h.fma(d, load(gain, at)), gain, at);
      store(load(shift, at).add(d), shift, at);
      d = d.mul(w);
      s = s.add(d);
      q = h.fma(d, q);
    }
    s.intoArray(out, 0);
    q.intoArray(out, SLOT);
    if (whole < n) {
      long c = whole * 4L;
      int rest = n - whole;
      gradientRest(x + c, dy + c, dx + c, rest, line, weight + c);
      long f = stride + c;
      sumsRest(x + f, dy + f, rest, nextMean, nextRstd, weight + c, gain + c, shift + c, out);
    }
  }
}
