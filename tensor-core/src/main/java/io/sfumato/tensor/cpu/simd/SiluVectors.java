// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.ExpVectors.exploding;
import static io.sfumato.tensor.cpu.simd.ExpVectors.limited;
import static io.sfumato.tensor.cpu.simd.ExpVectors.lower;
import static io.sfumato.tensor.cpu.simd.ExpVectors.raised;
import static io.sfumato.tensor.cpu.simd.ExpVectors.remainder;
import static io.sfumato.tensor.cpu.simd.ExpVectors.rounded;
import static io.sfumato.tensor.cpu.simd.ExpVectors.upper;
import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.copyRest;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import jdk.incubator.vector.FloatVector;

/**
 * SiLU of {@code z = (x - mean) scale + bias}, and its derivative times a gradient, in one loop
 * each. Rows have parameters per column and are whole vectors long; planes share one channel's.
 */
final class SiluVectors {
  private static final long SLOT = 64;

  private SiluVectors() {}

  static void mapRow(long x, long y, int n, long mean, long scale, long bias) {
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector w = load(x, at).sub(load(mean, at)).fma(load(scale, at), load(bias, at));
      FloatVector v = limited(w.neg());
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      store(w.div(e.add(1f)), y, at);
    }
  }

  static void mapPlane(long x, long y, int n, float mean, float scale, float bias) {
    int whole = whole(n);
    mapVectors(x, y, whole, mean, scale, bias);
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(x + whole * 4L, pad, n - whole);
      mapVectors(pad, pad, N, mean, scale, bias);
      copyRest(pad, y + whole * 4L, n - whole);
    }
  }

  private static void mapVectors(long x, long y, int n, float mean, float scale, float bias) {
    FloatVector factor = all(scale);
    FloatVector constant = all(bias);
    for (int i = 0; i < n; i += N) {
      FloatVector w = load(x, i * 4L).sub(mean).fma(factor, constant);
      FloatVector v = limited(w.neg());
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      store(w.div(e.add(1f)), y, i * 4L);
    }
  }

  static void gradientRow(long x, long dy, long dz, int n, long mean, long scale, long bias) {
    FloatVector one = all(1f);
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector w = load(x, at).sub(load(mean, at)).fma(load(scale, at), load(bias, at));
      FloatVector v = limited(w.neg());
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      FloatVector s = one.div(e.add(1f));
      store(one.sub(s).fma(w, one).mul(s).mul(load(dy, at)), dz, at);
    }
  }

  static void gradientPlane(long x, long dy, long dz, int n, float mean, float scale, float bias) {
    int whole = whole(n);
    gradientVectors(x, dy, dz, whole, mean, scale, bias);
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(x + whole * 4L, pad, n - whole);
      copyRest(dy + whole * 4L, pad + SLOT, n - whole);
      gradientVectors(pad, pad + SLOT, pad, N, mean, scale, bias);
      copyRest(pad, dz + whole * 4L, n - whole);
    }
  }

  private static void gradientVectors(
      long x, long dy, long dz, int n, float mean, float scale, float bias) {
    FloatVector one = all(1f);
    FloatVector factor = all(scale);
    FloatVector constant = all(bias);
    for (int i = 0; i < n; i += N) {
      long at = i * 4L;
      FloatVector w = load(x, at).sub(mean).fma(factor, constant);
      FloatVector v = limited(w.neg());
      FloatVector z = rounded(v);
      FloatVector r = remainder(z, v);
      FloatVector e = exploding(raised(lower(upper(r), r), z), v);
      FloatVector s = one.div(e.add(1f));
      store(one.sub(s).fma(w, one).mul(s).mul(load(dy, at)), dz, at);
    }
  }
}
