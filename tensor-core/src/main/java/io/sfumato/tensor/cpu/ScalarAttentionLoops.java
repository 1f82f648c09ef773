// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.Memory.getFloat;
import static io.sfumato.tensor.cpu.Memory.putFloat;

/** {@link AttentionLoops} in plain Java. */
final class ScalarAttentionLoops implements AttentionLoops {
  @Override
  public void addMask(long s, long mask, int n) {
    for (int i = 0; i < n; i++) {
      putFloat(s + i * 4L, getFloat(s + i * 4L) + getFloat(mask + i * 4L));
    }
  }

  @Override
  public float max(long s, int n) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < n; i++) {
      float v = getFloat(s + i * 4L);
      max = v > max ? v : max;
    }
    return max;
  }

  @Override
  public double exponentials(long s, int n, float shift) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
      float e = (float) Math.exp(getFloat(s + i * 4L) - shift);
      putFloat(s + i * 4L, e);
      sum += e;
    }
    return sum;
  }

  @Override
  public void scale(long from, long to, int n, float factor) {
    for (int i = 0; i < n; i++) {
      putFloat(to + i * 4L, getFloat(from + i * 4L) * factor);
    }
  }

  @Override
  public void gradient(long s, long dp, int n, float lse, float delta, float scale) {
    for (int i = 0; i < n; i++) {
      float p = (float) Math.exp(getFloat(s + i * 4L) - lse);
      putFloat(s + i * 4L, p);
      putFloat(dp + i * 4L, p * (getFloat(dp + i * 4L) - delta) * scale);
    }
  }
}
