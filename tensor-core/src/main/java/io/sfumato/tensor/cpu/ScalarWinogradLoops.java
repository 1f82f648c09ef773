// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link WinogradLoops} in plain Java. */
final class ScalarWinogradLoops implements WinogradLoops {
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
    for (long i = 0; i < 4L * channels; i += 4) {
      float t0 = combine(add, a0 + i, b0 + i);
      float t1 = combine(add, a1 + i, b1 + i);
      float t2 = combine(add, a2 + i, b2 + i);
      float t3 = combine(add, a3 + i, b3 + i);
      putFloat(to + i, t0 - t2);
      putFloat(to + i + 4 * step, t1 + t2);
      putFloat(to + i + 8 * step, t2 - t1);
      putFloat(to + i + 12 * step, t3 - t1);
    }
  }

  @Override
  public void gradientRow(
      boolean add, long a0, long a1, long b0, long b1, int channels, long to, long step) {
    for (long i = 0; i < 4L * channels; i += 4) {
      float t0 = combine(add, a0 + i, b0 + i);
      float t1 = combine(add, a1 + i, b1 + i);
      putFloat(to + i, t0);
      putFloat(to + i + 4 * step, t0 + t1);
      putFloat(to + i + 8 * step, t0 - t1);
      putFloat(to + i + 12 * step, t1);
    }
  }

  private static float combine(boolean add, long a, long b) {
    return add ? getFloat(a) + getFloat(b) : getFloat(a) - getFloat(b);
  }

  @Override
  public void output(
      long m, long step, long bias, int channels, long y00, long y01, long y10, long y11) {
    float[] s = new float[8];
    for (long i = 0; i < 4L * channels; i += 4) {
      for (int j = 0; j < 4; j++) {
        long at = m + i + 4 * j * step;
        float m1 = getFloat(at + 16 * step);
        float m2 = getFloat(at + 32 * step);
        s[j] = getFloat(at) + m1 + m2;
        s[4 + j] = m1 - m2 + getFloat(at + 48 * step);
      }
      float b = getFloat(bias + i);
      putFloat(y00 + i, s[0] + s[1] + s[2] + b);
      putFloat(y01 + i, s[1] - s[2] + s[3] + b);
      putFloat(y10 + i, s[4] + s[5] + s[6] + b);
      putFloat(y11 + i, s[5] - s[6] + s[7] + b);
    }
  }

  @Override
  public void weights(long taps, long tapStep, int n, long to, long step) {
    float[] t = new float[12];
    for (long i = 0; i < 4L * n; i += 4) {
      for (int s = 0; s < 3; s++) {
        long at = taps + i + 4 * s * tapStep;
        float g0 = getFloat(at);
        float g1 = getFloat(at + 12 * tapStep);
        float g2 = getFloat(at + 24 * tapStep);
        t[s] = g0;
        t[3 + s] = 0.5f * (g0 + g2) + 0.5f * g1;
        t[6 + s] = 0.5f * (g0 + g2) - 0.5f * g1;
        t[9 + s] = g2;
      }
      for (int r = 0; r < 4; r++) {
        long at = to + i + 16 * r * step;
        float even = 0.5f * (t[3 * r] + t[3 * r + 2]);
        float odd = 0.5f * t[3 * r + 1];
        putFloat(at, t[3 * r]);
        putFloat(at + 4 * step, even + odd);
        putFloat(at + 8 * step, even - odd);
        putFloat(at + 12 * step, t[3 * r + 2]);
      }
    }
  }

  @Override
  public void weightGradient(long m, long step, int n, long taps, long tapStep) {
    float[] t = new float[12];
    for (long i = 0; i < 4L * n; i += 4) {
      for (int s = 0; s < 4; s++) {
        long at = m + i + 4 * s * step;
        float m1 = getFloat(at + 16 * step);
        float m2 = getFloat(at + 32 * step);
        float half = 0.5f * (m1 + m2);
        t[s] = getFloat(at) + half;
        t[4 + s] = 0.5f * (m1 - m2);
        t[8 + s] = half + getFloat(at + 48 * step);
      }
      for (int r = 0; r < 3; r++) {
        long at = taps + i + 12 * r * tapStep;
        float half = 0.5f * (t[4 * r + 1] + t[4 * r + 2]);
        putFloat(at, t[4 * r] + half);
        putFloat(at + 4 * tapStep, 0.5f * (t[4 * r + 1] - t[4 * r + 2]));
        putFloat(at + 8 * tapStep, half + t[4 * r + 3]);
      }
    }
  }
}
