// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import java.util.Arrays;

/** The values that codes stand for, those of bitsandbytes. */
public final class CodeTables {
  private static final float[] NF4 = {
    -1f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1f
  };

  /** Twelve times the magnitudes of FP4, by the lower three bits of the code. */
  private static final float[] FP4_TWELFTHS = {0, 0.0625f, 8, 12, 4, 6, 2, 3};

  private static final int DECADES = 7;

  private CodeTables() {}

  /**
   * NormalFloat: 16 quantiles of a normal distribution, scaled to [-1, 1], code 7 is 0 (Dettmers et
   * al. 2023, <a href="https://arxiv.org/abs/2305.14314">arXiv:2305.14314</a>).
   */
  public static float[] nf4() {
    return NF4.clone();
  }

  /** A float of one sign bit (8), two bits of exponent and one of fraction, scaled to [-1, 1]. */
  public static float[] fp4() {
    float[] table = new float[16];
    for (int i = 0; i < table.length; i++) {
      float magnitude = FP4_TWELFTHS[i & 7] / 12;
      table[i] = i < 8 ? magnitude : -magnitude;
    }
    return table;
  }

  /**
   * The dynamic map: 256 values in ascending order, from 1e-7 to 1, whose step grows with their
   * decade (Dettmers 2015, <a href="https://arxiv.org/abs/1511.04561">arXiv:1511.04561</a>). In
   * decade i of seven lie the midpoints of 2^i equal parts of [0.1, 1] · 10^(i-6), of both signs;
   * or, without signs, of 2^(i+1) parts; 0 and 1 are in it, too.
   */
  public static float[] dynamic(boolean signed) {
    float[] values = new float[256];
    int n = 0;
    for (int i = 0; i < DECADES; i++) {
      int parts = 1 << (signed ? i : i + 1);
      float decade = (float) Math.pow(10, i - (DECADES - 1));
      for (int p = 0; p < parts; p++) {
        float value = decade * ((boundary(p, parts) + boundary(p + 1, parts)) / 2);
        values[n++] = value;
        if (signed) {
          values[n++] = -value;
        }
      }
    }
    values[n] = 1; // and 0
    Arrays.sort(values);
    return values;
  }

  /** Boundary {@code p} of {@code parts} equal parts of [0.1, 1], counted from the nearer end. */
  private static float boundary(int p, int parts) {
    float step = (1f - 0.1f) / parts;
    return p < (parts + 1) / 2 ? 0.1f + step * p : 1f - step * (parts - p);
  }
}
