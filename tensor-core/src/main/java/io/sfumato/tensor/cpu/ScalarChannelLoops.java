// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link ChannelLoops} in plain Java. */
final class ScalarChannelLoops implements ChannelLoops {
  @Override
  public int lanes() {
    return 1;
  }

  @Override
  public void columnSums(long x, int rows, int width, long sum) {
    for (int j = 0; j < width; j++) {
      double s = 0;
      for (int r = 0; r < rows; r++) {
        s += getFloat(x + ((long) r * width + j) * 4);
      }
      putFloat(sum + j * 4L, (float) s);
    }
  }

  @Override
  public void columnDeviations(long x, int rows, int width, long shift, long d1, long d2) {
    for (int j = 0; j < width; j++) {
      double c = getFloat(shift + j * 4L);
      double s = 0;
      double q = 0;
      for (int r = 0; r < rows; r++) {
        double d = getFloat(x + ((long) r * width + j) * 4) - c;
        s += d;
        q += d * d;
      }
      putFloat(d1 + j * 4L, (float) s);
      putFloat(d2 + j * 4L, (float) q);
    }
  }

  private static float map(float x, float mean, float scale, float bias, boolean silu) {
    float z = Math.fma(x - mean, scale, bias);
    return silu ? (float) (z * SpecialFunctions.sigmoid(z)) : z;
  }

  private static float gradient(float x, float dy, float mean, float scale, float bias) {
    return (float) (dy * UnaryGradient.SILU.derivative(Math.fma(x - mean, scale, bias)));
  }

  @Override
  public void columnMap(
      long x, long y, int rows, int width, long mean, long scale, long bias, boolean silu) {
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < width; j++) {
        long at = ((long) r * width + j) * 4;
        long c = j * 4L;
        float v =
            map(
                getFloat(x + at),
                getFloat(mean + c),
                getFloat(scale + c),
                getFloat(bias + c),
                silu);
        putFloat(y + at, v);
      }
    }
  }

  @Override
  public void columnSiluGradient(
      long x, long dy, long dz, int rows, int width, long mean, long scale, long bias) {
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < width; j++) {
        long at = ((long) r * width + j) * 4;
        long c = j * 4L;
        float m = getFloat(mean + c);
        float g = getFloat(dy + at);
        g = gradient(getFloat(x + at), g, m, getFloat(scale + c), getFloat(bias + c));
        putFloat(dz + at, g);
      }
    }
  }

  @Override
  public void columnGradientSums(
      long x, long dz, int rows, int width, long mean, long s1, long s2) {
    for (int j = 0; j < width; j++) {
      float m = getFloat(mean + j * 4L);
      double a = getFloat(s1 + j * 4L);
      double q = getFloat(s2 + j * 4L);
      for (int r = 0; r < rows; r++) {
        long at = ((long) r * width + j) * 4;
        float g = getFloat(dz + at);
        a += g;
        q += g * ((double) getFloat(x + at) - m);
      }
      putFloat(s1 + j * 4L, (float) a);
      putFloat(s2 + j * 4L, (float) q);
    }
  }

  @Override
  public void columnGradient(
      long x, long dz, long dx, int rows, int width, long mean, long a, long b, long c) {
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < width; j++) {
        long at = ((long) r * width + j) * 4;
        float v = getFloat(x + at) - getFloat(mean + j * 4L);
        v = Math.fma(v, getFloat(b + j * 4L), getFloat(c + j * 4L));
        putFloat(dx + at, Math.fma(getFloat(dz + at), getFloat(a + j * 4L), v));
      }
    }
  }

  @Override
  public void planeDeviations(long x, int n, float shift, double[] out) {
    double s = 0;
    double q = 0;
    for (int i = 0; i < n; i++) {
      double d = (double) getFloat(x + i * 4L) - shift;
      s += d;
      q += d * d;
    }
    out[0] = s;
    out[1] = q;
  }

  @Override
  public void planeMap(long x, long y, int n, float mean, float scale, float bias, boolean silu) {
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, map(getFloat(x + i * 4L), mean, scale, bias, silu));
    }
  }

  @Override
  public void planeGradientSums(
      long x,
      long dy,
      long dz,
      int n,
      float mean,
      float scale,
      float bias,
      double[] out,
      boolean silu) {
    double a = 0;
    double q = 0;
    for (int i = 0; i < n; i++) {
      float v = getFloat(x + i * 4L);
      float g = getFloat(dy + i * 4L);
      if (silu) {
        g = gradient(v, g, mean, scale, bias);
        putFloat(dz + i * 4L, g);
      }
      a += g;
      q += g * ((double) v - mean);
    }
    out[0] = a;
    out[1] = q;
  }

  @Override
  public void planeGradient(
      long x, long dz, long dx, int n, float mean, float a, float b, float c) {
    for (int i = 0; i < n; i++) {
      float v = Math.fma(getFloat(x + i * 4L) - mean, b, c);
      putFloat(dx + i * 4L, Math.fma(getFloat(dz + i * 4L), a, v));
    }
  }
}
