// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link WinogradLoops} in plain Java. */
final class ScalarWinogradLoops implements WinogradLoops {
  @Override
  public void combine(
      boolean add,
      int pixels,
      int channels,
      long a,
      long strideA,
      long b,
      long strideB,
      long to,
      long toStride) {
    for (int p = 0; p < pixels; p++) {
      for (long i = 0; i < 4L * channels; i += 4) {
        float x = getFloat(a + i);
        float y = getFloat(b + i);
        putFloat(to + i, add ? x + y : x - y);
      }
      a += 4 * strideA;
      b += 4 * strideB;
      to += 4 * toStride;
    }
  }

  @Override
  public void inputColumns(
      int tiles, int channels, long t, long pixel, long to, long width, long step) {
    for (int tile = 0; tile < tiles; tile++) {
      for (long i = 0; i < 4L * channels; i += 4) {
        float t1 = getFloat(t + i + 4 * pixel);
        float t2 = getFloat(t + i + 8 * pixel);
        putFloat(to + i, getFloat(t + i) - t2);
        putFloat(to + i + 4 * step, t1 + t2);
        putFloat(to + i + 8 * step, t2 - t1);
        putFloat(to + i + 12 * step, getFloat(t + i + 12 * pixel) - t1);
      }
      t += 8 * pixel;
      to += 4 * width;
    }
  }

  @Override
  public void gradientColumns(
      int tiles, int channels, long t, long pixel, long to, long width, long step) {
    for (int tile = 0; tile < tiles; tile++) {
      for (long i = 0; i < 4L * channels; i += 4) {
        float t0 = getFloat(t + i);
        float t1 = getFloat(t + i + 4 * pixel);
        putFloat(to + i, t0);
        putFloat(to + i + 4 * step, t0 + t1);
        putFloat(to + i + 8 * step, t0 - t1);
        putFloat(to + i + 12 * step, t1);
      }
      t += 8 * pixel;
      to += 4 * width;
    }
  }

  @Override
  public void outputRows(int n, long m, long step, long u0, long u1) {
    for (long i = 0; i < 4L * n; i += 4) {
      float m1 = getFloat(m + i + 4 * step);
      float m2 = getFloat(m + i + 8 * step);
      putFloat(u0 + i, getFloat(m + i) + m1 + m2);
      putFloat(u1 + i, m1 - m2 + getFloat(m + i + 12 * step));
    }
  }

  @Override
  public void outputColumns(
      int tiles,
      int channels,
      long u,
      long width,
      long step,
      long bias,
      long y0,
      long y1,
      long stride) {
    for (int tile = 0; tile < tiles; tile++) {
      for (long i = 0; i < 4L * channels; i += 4) {
        float b = getFloat(bias + i);
        float u1 = getFloat(u + i + 4 * step);
        float u2 = getFloat(u + i + 8 * step);
        putFloat(y0 + i, getFloat(u + i) + b + u1 + u2);
        putFloat(y1 + i, u1 + b - u2 + getFloat(u + i + 12 * step));
      }
      u += 4 * width;
      y0 += 4 * stride;
      y1 += 4 * stride;
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
