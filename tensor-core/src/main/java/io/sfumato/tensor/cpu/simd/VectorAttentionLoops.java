// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.AttentionLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.ReduceLoops;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** {@link AttentionLoops} over the Vector API. */
final class VectorAttentionLoops implements AttentionLoops {
  private static final long B = N * 4L;
  private final ReduceLoops reduce;

  VectorAttentionLoops(ReduceLoops reduce) {
    this.reduce = reduce;
  }

  @Override
  public void transpose(
      long from, long rowStride, int rows, int columns, float scale, long to, long ld) {
    for (int r = 0; r < rows; r++) {
      long source = from + r * rowStride * 4;
      long target = to + r * 4L;
      for (int c = 0; c < columns; c++) {
        Memory.putFloat(target + c * ld * 4, scale * Memory.getFloat(source + c * 4L));
      }
    }
  }

  @Override
  public void addMask(long s, long mask, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(s + i * 4L).add(load(mask + i * 4L)), s + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(s + at, m).add(load(mask + at, m)), s + at, m);
    }
  }

  @Override
  public float max(long s, int n) {
    FloatVector m0 = all(Float.NEGATIVE_INFINITY);
    FloatVector m1 = m0;
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * N) {
      FloatVector a = load(s + i * 4L);
      FloatVector b = load(s + i * 4L + B);
      m0 = m0.blend(a, a.compare(VectorOperators.GT, m0));
      m1 = m1.blend(b, b.compare(VectorOperators.GT, m1));
    }
    for (; i < n; i += N) {
      VectorMask<Float> m = first(Math.min(N, n - i));
      FloatVector a = load(s + i * 4L, m);
      m0 = m0.blend(a, a.compare(VectorOperators.GT, m0).and(m));
    }
    return m0.blend(m1, m1.compare(VectorOperators.GT, m0)).reduceLanes(VectorOperators.MAX);
  }

  @Override
  public double exponentials(long s, int n, float shift) {
    ExpVectors.shiftedRow(s, shift, s, n);
    return reduce.sum(s, n);
  }

  @Override
  public void scale(long from, long to, int n, float factor) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(from + i * 4L).mul(factor), to + i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      store(load(from + whole * 4L, m).mul(factor), to + whole * 4L, m);
    }
  }

  @Override
  public void gradient(long s, long dp, int n, float lse, float delta, float scale) {
    ExpVectors.shiftedRow(s, lse, s, n);
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      store(load(dp + at).sub(delta).mul(load(s + at)).mul(scale), dp + at);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(dp + at, m).sub(delta).mul(load(s + at, m)).mul(scale), dp + at, m);
    }
  }
}
