// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;
import static io.sfumato.tensor.cpu.simd.Lanes.F;
import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.ORDER;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.copyRest;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.AttentionLoops;
import io.sfumato.tensor.cpu.Memory;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** {@link AttentionLoops} over the Vector API. */
final class VectorAttentionLoops implements AttentionLoops {
  private static final long B = N * 4L;
  private static final long SLOT = 64;

  @Override
  public void addMask(long s, long mask, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(s, i * 4L).add(load(mask, i * 4L)), s, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(s, at, m).add(load(mask, at, m)), s, at, m);
    }
  }

  @Override
  public float max(long s, int n) {
    if (n < N) {
      return maxOfFew(s, n);
    }
    FloatVector m0 = all(Float.NEGATIVE_INFINITY);
    FloatVector m1 = m0;
    int i = 0;
    for (; i <= n - 2 * N; i += 2 * N) {
      FloatVector a = load(s, i * 4L);
      FloatVector b = load(s, i * 4L + B);
      m0 = m0.blend(a, a.compare(VectorOperators.GT, m0));
      m1 = m1.blend(b, b.compare(VectorOperators.GT, m1));
    }
    for (; i < n; i += N) { // some twice rather than some masked: beside masks m0 and m1 are boxed
      FloatVector a = load(s, Math.min(i, n - N) * 4L);
      m0 = m0.blend(a, a.compare(VectorOperators.GT, m0));
    }
    return m0.blend(m1, m1.compare(VectorOperators.GT, m0)).reduceLanes(VectorOperators.MAX);
  }

  private static float maxOfFew(long s, int n) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < n; i++) {
      float v = Memory.getFloat(s + i * 4L);
      max = v > max ? v : max;
    }
    return max;
  }

  @Override
  public double exponentials(long s, int n, float shift) {
    return ExpVectors.shiftedRowSum(s, shift, s, n);
  }

  @Override
  public void scale(long from, long to, int n, float factor) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      store(load(from, i * 4L).mul(factor), to, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      store(load(from, whole * 4L, m).mul(factor), to, whole * 4L, m);
    }
  }

  @Override
  public void gradient(long s, long dp, int n, float lse, float delta, float scale) {
    int whole = whole(n);
    gradientVectors(s, dp, whole, lse, delta, scale);
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(s + whole * 4L, pad, n - whole);
      copyRest(dp + whole * 4L, pad + SLOT, n - whole);
      gradientVectors(pad, pad + SLOT, N, lse, delta, scale);
      copyRest(pad, s + whole * 4L, n - whole);
      copyRest(pad + SLOT, dp + whole * 4L, n - whole);
    }
  }

  /**
   * With the short form of {@link ExpVectors} written out: of more than 325 bytecodes, so a method
   * of its own to the compiler, whatever calls it.
   */
  private static void gradientVectors(long s, long dp, int n, float lse, float delta, float scale) {
    FloatVector log2e = FloatVector.broadcast(F, ExpVectors.LOG2_E);
    FloatVector ln2 = FloatVector.broadcast(F, -ExpVectors.LN2);
    FloatVector rounder = FloatVector.broadcast(F, ExpVectors.ROUNDER);
    FloatVector s0 = FloatVector.broadcast(F, ExpVectors.S0);
    FloatVector s1 = FloatVector.broadcast(F, ExpVectors.S1);
    FloatVector s2 = FloatVector.broadcast(F, ExpVectors.S2);
    FloatVector s3 = FloatVector.broadcast(F, ExpVectors.S3);
    FloatVector one = FloatVector.broadcast(F, 1f);
    FloatVector zero = FloatVector.zero(F);
    FloatVector lowest = FloatVector.broadcast(F, ExpVectors.LOWEST);
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector v = FloatVector.fromMemorySegment(F, ALL, Memory.at(s, at), ORDER).sub(lse);
      FloatVector z = v.fma(log2e, rounder);
      FloatVector r = z.sub(rounder).fma(ln2, v);
      FloatVector e = r.fma(s3, s2).fma(r, s1).fma(r, s0).fma(r, one).fma(r, one);
      IntVector power = z.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
      e = e.mul(power.add(ExpVectors.ONE_BITS).reinterpretAsFloats());
      e = e.blend(zero, v.compare(VectorOperators.LT, lowest));
      e.intoMemorySegment(ALL, Memory.at(s, at), ORDER);
      FloatVector d = FloatVector.fromMemorySegment(F, ALL, Memory.at(dp, at), ORDER).sub(delta);
      d.mul(e).mul(scale).intoMemorySegment(ALL, Memory.at(dp, at), ORDER);
    }
  }
}
