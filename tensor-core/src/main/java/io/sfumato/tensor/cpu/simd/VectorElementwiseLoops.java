// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.all;
import static io.sfumato.tensor.cpu.simd.Lanes.copyRest;
import static io.sfumato.tensor.cpu.simd.Lanes.first;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.BinaryOp;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.UnaryGradient;
import io.sfumato.tensor.cpu.UnaryOp;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * {@link ElementwiseLoops} over the Vector API. What is left over after the whole vectors goes
 * through a padded copy and the same loop, so a value does not depend on its position.
 */
final class VectorElementwiseLoops implements ElementwiseLoops {
  private static final long SLOT = 64;

  @Override
  public void unary(UnaryOp op, long x, long y, int n) {
    int whole = whole(n);
    if (whole > 0) {
      UnaryVectors.run(op, x, y, whole);
    }
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(x + whole * 4L, pad, n - whole);
      UnaryVectors.run(op, pad, pad, N);
      copyRest(pad, y + whole * 4L, n - whole);
    }
  }

  @Override
  public void gradient(UnaryGradient op, long kept, long dy, long dx, int n) {
    int whole = whole(n);
    if (whole > 0) {
      GradientVectors.run(op, kept, dy, dx, whole);
    }
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(kept + whole * 4L, pad, n - whole);
      copyRest(dy + whole * 4L, pad + SLOT, n - whole);
      GradientVectors.run(op, pad, pad + SLOT, pad, N);
      copyRest(pad, dx + whole * 4L, n - whole);
    }
  }

  @Override
  public void binary(BinaryOp op, long a, long b, long y, int n) {
    int whole = whole(n);
    if (whole > 0) {
      BinaryVectors.run(op, a, b, y, whole);
    }
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(a + whole * 4L, pad, n - whole);
      copyRest(b + whole * 4L, pad + SLOT, n - whole);
      BinaryVectors.run(op, pad, pad + SLOT, pad, N);
      copyRest(pad, y + whole * 4L, n - whole);
    }
  }

  @Override
  public void binaryRight(BinaryOp op, long a, float s, long y, int n) {
    int whole = whole(n);
    if (whole > 0) {
      BinaryVectors.right(op, a, s, y, whole);
    }
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(a + whole * 4L, pad, n - whole);
      BinaryVectors.right(op, pad, s, pad, N);
      copyRest(pad, y + whole * 4L, n - whole);
    }
  }

  @Override
  public void binaryLeft(BinaryOp op, float s, long a, long y, int n) {
    int whole = whole(n);
    if (whole > 0) {
      BinaryVectors.left(op, s, a, y, whole);
    }
    if (whole < n) {
      long pad = Lanes.pads();
      copyRest(a + whole * 4L, pad, n - whole);
      BinaryVectors.left(op, s, pad, pad, N);
      copyRest(pad, y + whole * 4L, n - whole);
    }
  }

  @Override
  public void leakyRelu(float slope, long x, long y, int n) {
    leakyReluGradient(slope, x, x, y, n);
  }

  @Override
  public void leakyReluGradient(float slope, long x, long dy, long dx, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      VectorMask<Float> on = load(x, i * 4L).compare(VectorOperators.GT, 0f);
      FloatVector g = load(dy, i * 4L);
      store(g.mul(slope).blend(g, on), dx, i * 4L);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      VectorMask<Float> on = load(x, at, m).compare(VectorOperators.GT, 0f);
      FloatVector g = load(dy, at, m);
      store(g.mul(slope).blend(g, on), dx, at, m);
    }
  }

  @Override
  public void multiplyAdd(long a, long b, long c, long y, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      store(load(b, at).fma(load(c, at), load(a, at)), y, at);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(b, at, m).fma(load(c, at, m), load(a, at, m)), y, at, m);
    }
  }

  @Override
  public void axpby(float alpha, long a, float beta, long b, long y, int n) {
    int whole = whole(n);
    FloatVector factor = all(alpha);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      store(load(a, at).fma(factor, load(b, at).mul(beta)), y, at);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      store(load(a, at, m).fma(factor, load(b, at, m).mul(beta)), y, at, m);
    }
  }

  @Override
  public void sumOfFour(float scale, long a, long b, long c, long d, long y, int n) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += N) {
      long at = i * 4L;
      FloatVector s = load(a, at).add(load(b, at)).add(load(c, at).add(load(d, at)));
      store(s.mul(scale), y, at);
    }
    if (whole < n) {
      VectorMask<Float> m = first(n - whole);
      long at = whole * 4L;
      FloatVector s = load(a, at, m).add(load(b, at, m));
      s = s.add(load(c, at, m).add(load(d, at, m)));
      store(s.mul(scale), y, at, m);
    }
  }

  @Override
  public void fill(float value, long y, int n) {
    int whole = whole(n);
    FloatVector v = all(value);
    for (int i = 0; i < whole; i += N) {
      store(v, y, i * 4L);
    }
    if (whole < n) {
      store(v, y, whole * 4L, first(n - whole));
    }
  }

  @Override
  public void shiftedExp(float shift, float scale, long x, long y, int n) {
    ExpVectors.shiftedRow(x, -shift, y, n);
    binaryRight(BinaryOp.MUL, y, scale, y, n);
  }
}
