// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link ReduceLoops} in plain Java. */
final class ScalarReduceLoops implements ReduceLoops {
  @Override
  public double sum(long x, int n) {
    double s = 0;
    for (int i = 0; i < n; i++) {
      s += getFloat(x + i * 4L);
    }
    return s;
  }

  @Override
  public double sumOfSquares(long x, int n) {
    return dot(x, x, n);
  }

  @Override
  public double dot(long a, long b, int n) {
    double s = 0;
    for (int i = 0; i < n; i++) {
      s += (double) getFloat(a + i * 4L) * getFloat(b + i * 4L);
    }
    return s;
  }

  @Override
  public void dots(long a, long aStep, long b, long bStep, int n, double[] out) {
    for (int i = 0; i < DOT_ROWS * DOT_COLUMNS; i++) {
      out[i] = dot(a + i / DOT_COLUMNS * aStep, b + i % DOT_COLUMNS * bStep, n);
    }
  }

  @Override
  public float max(long x, int n) {
    float m = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < n; i++) {
      m = Math.max(m, getFloat(x + i * 4L));
    }
    return m;
  }

  @Override
  public int firstAtLeast(long x, int from, int n, float bound) {
    int i = from;
    while (i < n && !(getFloat(x + i * 4L) >= bound)) {
      i++;
    }
    return i;
  }

  @Override
  public void addColumns(long x, long out, int rows, int n) {
    for (int j = 0; j < n; j++) {
      double s = getFloat(out + j * 4L);
      for (int r = 0; r < rows; r++) {
        s += getFloat(x + ((long) r * n + j) * 4);
      }
      putFloat(out + j * 4L, (float) s);
    }
  }

  @Override
  public void columnTotals(long x, int rows, int n, double[] out, int at) {
    for (int j = 0; j < n; j++) {
      double s = 0;
      for (int r = 0; r < rows; r++) {
        s += getFloat(x + ((long) r * n + j) * 4);
      }
      out[at + j] = s;
    }
  }
}
