// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;

/** Functions of 32-bit floats, rounded once: the reference computes its coefficients so. */
final class F32 {
  private F32() {}

  static float sqrt(float x) {
    return (float) Math.sqrt(x);
  }

  static float exp(float x) {
    return (float) Math.exp(x);
  }

  static float expm1(float x) {
    return (float) Math.expm1(x);
  }

  static float log(float x) {
    return (float) Math.log(x);
  }

  /**
   * The logarithm as NumPy computes it for 32-bit floats, which now and then differs by one unit in
   * the last place from {@link #log}. Timesteps that are cut to whole numbers hang on that unit.
   */
  static float numpyLog(float x) {
    int exponent = Math.getExponent(x) + 1; // x = mantissa · 2^exponent, mantissa in [1/2, 1)
    float mantissa = Math.scalb(x, -exponent);
    if (mantissa < (float) Math.sqrt(0.5)) {
      mantissa *= 2;
      exponent--;
    }
    float y = mantissa - 1;
    float p = 2.589979117907922693523e-2f;
    for (float c :
        new float[] {
          3.808837741388407920751e-1f,
          1.480000633576506585156f,
          2.112677543073053063722f,
          9.999999999999998702752e-1f,
          0
        }) {
      p = Math.fma(p, y, c);
    }
    float q = 5.875095403124574342950e-3f;
    for (float c :
        new float[] {
          1.546476374983906719538e-1f,
          9.864942958519418960339e-1f,
          2.453006071784736363091f,
          2.612677543073109236779f,
          1
        }) {
      q = Math.fma(q, y, c);
    }
    return Math.fma(exponent, (float) Math.log(2), p / q);
  }

  /**
   * {@code x / by}, rounded once. Multiplying by the reciprocal is rounded twice, which shows where
   * noise levels are large.
   */
  static Tensor quotient(Tensor x, float by) {
    return x.div(Tensor.of(new double[] {by}, x.dtype(), x.device(), 1));
  }
}
