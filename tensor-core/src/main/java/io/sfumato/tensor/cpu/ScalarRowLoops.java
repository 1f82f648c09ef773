// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link RowLoops} in plain Java. */
final class ScalarRowLoops implements RowLoops {
  private static float max(long x, int n) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < n; i++) {
      float v = getFloat(x + i * 4L);
      max = v > max ? v : max;
    }
    return max;
  }

  private static double expSum(long x, int n, float max) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
      sum += Math.exp(getFloat(x + i * 4L) - max);
    }
    return sum;
  }

  @Override
  public void softmax(long x, long y, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      softmax(x + r * 4L * n, y + r * 4L * n, n);
    }
  }

  private static void softmax(long x, long y, int n) {
    float max = max(x, n);
    double factor = 1 / expSum(x, n, max);
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, (float) (Math.exp(getFloat(x + i * 4L) - max) * factor));
    }
  }

  @Override
  public void softmaxGradient(long y, long dy, long dx, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      long at = r * 4L * n;
      softmaxGradient(y + at, dy + at, dx + at, n);
    }
  }

  private static void softmaxGradient(long y, long dy, long dx, int n) {
    double dot = 0;
    for (int i = 0; i < n; i++) {
      dot += (double) getFloat(y + i * 4L) * getFloat(dy + i * 4L);
    }
    for (int i = 0; i < n; i++) {
      putFloat(dx + i * 4L, (float) (getFloat(y + i * 4L) * (getFloat(dy + i * 4L) - dot)));
    }
  }

  @Override
  public void logSoftmax(long x, long y, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      logSoftmax(x + r * 4L * n, y + r * 4L * n, n);
    }
  }

  private static void logSoftmax(long x, long y, int n) {
    float max = max(x, n);
    double log = Math.log(expSum(x, n, max));
    for (int i = 0; i < n; i++) {
      putFloat(y + i * 4L, (float) ((double) getFloat(x + i * 4L) - max - log));
    }
  }

  @Override
  public float logSumExp(long x, int n) {
    float max = max(x, n);
    if (Float.isInfinite(max)) {
      for (int i = 0; i < n; i++) {
        max = Math.max(max, getFloat(x + i * 4L));
      }
      return max;
    }
    return (float) (max + Math.log(expSum(x, n, max)));
  }

  @Override
  public void logSoftmaxGradient(long y, long dy, long dx, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      long at = r * 4L * n;
      logSoftmaxGradient(y + at, dy + at, dx + at, n);
    }
  }

  private static void logSoftmaxGradient(long y, long dy, long dx, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
      sum += getFloat(dy + i * 4L);
    }
    for (int i = 0; i < n; i++) {
      double p = Math.exp(getFloat(y + i * 4L));
      putFloat(dx + i * 4L, (float) (getFloat(dy + i * 4L) - p * sum));
    }
  }

  @Override
  public double mean(long x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
      sum += getFloat(x + i * 4L);
    }
    return sum / n;
  }

  @Override
  public double squaredDeviations(long x, int n, float mean) {
    double s = 0;
    double q = 0;
    for (int i = 0; i < n; i++) {
      double d = (double) getFloat(x + i * 4L) - mean;
      s += d;
      q += d * d;
    }
    return q - s * s / n;
  }

  @Override
  public void moments(long x, int rows, int n, double[] out) {
    for (int r = 0; r < rows; r++) {
      long row = x + (long) r * n * 4;
      double mean = mean(row, n);
      double squares = 0;
      for (int i = 0; i < n; i++) {
        double d = getFloat(row + i * 4L) - mean;
        squares += d * d;
      }
      out[2 * r] = mean;
      out[2 * r + 1] = squares;
    }
  }

  @Override
  public void normalize(long x, long y, int rows, int n, float[] stats, long weight, long bias) {
    for (int r = 0; r < rows; r++) {
      long row = (long) r * n * 4;
      for (int i = 0; i < n; i++) {
        float v = (getFloat(x + row + i * 4L) - stats[2 * r]) * stats[2 * r + 1];
        if (weight != 0) {
          v = Math.fma(v, getFloat(weight + i * 4L), getFloat(bias + i * 4L));
        }
        putFloat(y + row + i * 4L, v);
      }
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
    for (int r = 0; r < rows; r++) {
      long row = (long) r * n * 4;
      double m = mean == 0 ? 0 : getFloat(mean + r * 4L);
      double k = getFloat(rstd + r * 4L);
      double g = 0;
      double gx = 0;
      for (int i = 0; i < n; i++) {
        long at = i * 4L;
        double v = (getFloat(x + row + at) - m) * k;
        double d = getFloat(dy + row + at);
        putFloat(columnGain + at, (float) (getFloat(columnGain + at) + d * v));
        putFloat(columnShift + at, (float) (getFloat(columnShift + at) + d));
        d *= getFloat(weight + at);
        g += d;
        gx += d * v;
      }
      g = centred ? g / n : 0;
      gx /= n;
      for (int i = 0; i < n; i++) {
        long at = i * 4L;
        double v = (getFloat(x + row + at) - m) * k;
        double d = getFloat(dy + row + at) * (double) getFloat(weight + at);
        putFloat(dx + row + at, (float) (k * (d - g - v * gx)));
      }
    }
  }
}
