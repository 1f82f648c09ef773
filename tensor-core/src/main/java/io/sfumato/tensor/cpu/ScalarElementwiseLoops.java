// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link ElementwiseLoops} in plain Java. */
final class ScalarElementwiseLoops implements ElementwiseLoops {
  @Override
  public void unary(UnaryOp op, long x, long y, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, (float) op.apply(getFloat(x + i * 4L)));
    }
  }

  @Override
  public void gradient(UnaryGradient op, long kept, long dy, long dx, int n) {
    if (op == UnaryGradient.RELU) {
      leakyReluGradient(0f, kept, dy, dx, n);
      return;
    }
    for (int i = 0; i < n; i++) {
      double slope = op.derivative(getFloat(kept + i * 4L));
      putFloat(dx + i * 4L, (float) (slope * getFloat(dy + i * 4L)));
    }
  }

  @Override
  public void binary(BinaryOp op, long a, long b, long y, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, (float) op.apply(getFloat(a + i * 4L), getFloat(b + i * 4L)));
    }
  }

  @Override
  public void binaryRight(BinaryOp op, long a, float s, long y, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, (float) op.apply(getFloat(a + i * 4L), s));
    }
  }

  @Override
  public void binaryLeft(BinaryOp op, float s, long a, long y, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, (float) op.apply(s, getFloat(a + i * 4L)));
    }
  }

  @Override
  public void leakyRelu(float slope, long x, long y, int n) {
    leakyReluGradient(slope, x, x, y, n);
  }

  @Override
  public void leakyReluGradient(float slope, long x, long dy, long dx, int n) {
    for (int i = 0; i < n; i++) {
      float g = getFloat(dy + i * 4L);
      boolean on = getFloat(x + i * 4L) > 0;
      putFloat(dx + i * 4L, on ? g : slope == 0 ? 0 : g * slope);
    }
  }

  @Override
  public void multiplyAdd(long a, long b, long c, long y, int n) {
    for (int i = 0; i < n; i++) {
      long at = i * 4L;
      putFloat(y + at, Math.fma(getFloat(b + at), getFloat(c + at), getFloat(a + at)));
    }
  }

  @Override
  public void axpby(float alpha, long a, float beta, long b, long y, int n) {
    for (int i = 0; i < n; i++) {
      long at = i * 4L;
      putFloat(y + at, Math.fma(alpha, getFloat(a + at), beta * getFloat(b + at)));
    }
  }

  @Override
  public void sumOfFour(float scale, long a, long b, long c, long d, long y, int n) {
    for (int i = 0; i < n; i++) {
      long at = i * 4L;
      float s = getFloat(a + at) + getFloat(b + at) + (getFloat(c + at) + getFloat(d + at));
      putFloat(y + at, s * scale);
    }
  }

  @Override
  public void fill(float value, long y, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, value);
    }
  }

  @Override
  public void shiftedExp(float shift, float scale, long x, long y, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, scale * (float) Math.exp(getFloat(x + i * 4L) + shift));
    }
  }
}
