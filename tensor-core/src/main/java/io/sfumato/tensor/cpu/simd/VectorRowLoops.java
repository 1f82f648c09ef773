// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;

import io.sfumato.tensor.cpu.ReduceLoops;
import io.sfumato.tensor.cpu.RowLoops;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;

/** {@link RowLoops} over the Vector API. */
final class VectorRowLoops implements RowLoops {
  private static final long B = N * 4L;
  private final ReduceLoops reduce;
  private final @Nullable AssembledPasses assembled;

  VectorRowLoops(ReduceLoops reduce, @Nullable AssembledPasses assembled) {
    this.reduce = reduce;
    this.assembled = assembled;
  }

  @Override
  public void softmax(long x, long y, int rows, int n) {
    SoftmaxVectors.softmax(x, y, rows, n);
  }

  @Override
  public void softmaxGradient(long y, long dy, long dx, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      long at = r * 4L * n;
      float dot = (float) reduce.dot(y + at, dy + at, n);
      SoftmaxVectors.gradient(y + at, dy + at, dx + at, dot, n);
    }
  }

  @Override
  public void logSoftmax(long x, long y, int rows, int n) {
    SoftmaxVectors.logSoftmax(x, y, rows, n);
  }

  @Override
  public void logSoftmaxGradient(long y, long dy, long dx, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      long at = r * 4L * n;
      float sum = (float) reduce.sum(dy + at, n);
      SoftmaxVectors.logGradient(y + at, dy + at, dx + at, sum, n);
    }
  }

  @Override
  public float logSumExp(long x, int n) {
    float max = SoftmaxVectors.max(x, n);
    return Float.isInfinite(max) ? reduce.max(x, n) : SoftmaxVectors.logSumExp(x, max, n);
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
  public void layerNorm(
      long x,
      long y,
      int rows,
      int n,
      long mean,
      long rstd,
      double epsilon,
      long weight,
      long bias) {
    int done =
        assembled == null || weight == 0 || n > RowVectors.SUMMED
            ? 0
            : assembled.layerNorm(x, y, rows, n, mean, rstd, epsilon, weight, bias);
    if (done < rows) {
      long at = done * 4L;
      RowLoops.super.layerNorm(
          x + at * n, y + at * n, rows - done, n, mean + at, rstd + at, epsilon, weight, bias);
    }
  }

  @Override
  public void normalizeGradient(
      long x,
      long dy,
      long dx,
      int rows,
      int n,
      long mean,
      long rstd,
      long weight,
      boolean centred,
      long columnGain,
      long columnShift) {
    int done =
        assembled == null || centred != (mean != 0)
            ? 0
            : assembled.normalizeGradient(
                x, dy, dx, rows, n, mean, rstd, weight, centred, columnGain, columnShift);
    if (done < rows) {
      long at = done * 4L;
      long means = mean == 0 ? 0 : mean + at;
      new RowGradientVectors(n, means, rstd + at, weight, centred, columnGain, columnShift)
          .run(x + at * n, dy + at * n, dx + at * n, rows - done);
    }
  }
}
