// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * Elementary functions for turning uniform numbers into normal ones, in float32 arithmetic whose
 * every operation (add, multiply, fused multiply-add, square root) is fixed by IEEE 754. The
 * results are therefore the same bits on every processor, and a GPU kernel that performs the same
 * operations in the same order gets them too.
 *
 * <p>The polynomials are those of the Cephes Mathematical Library's {@code logf}, {@code sinf} and
 * {@code cosf} (S. L. Moshier), whose error is about one unit in the last place on the intervals in
 * use.
 */
final class BoxMuller {
  static final double TWO_PI = 2 * Math.PI;

  private static final float SQRT_HALF = 0.707106781186547524f;
  private static final float TURN_OF_32_BITS = (float) (TWO_PI / 0x1p32);

  private BoxMuller() {}

  /** Natural logarithm of a positive, normal {@code x}. */
  static float log(float x) {
    int bits = Float.floatToRawIntBits(x);
    float exponent = (bits >>> 23) - 126;
    float mantissa = Float.intBitsToFloat((bits & 0x007fffff) | 0x3f000000); // [0.5, 1)
    boolean small = mantissa < SQRT_HALF;
    float m = mantissa - 1f;
    m += small ? mantissa : 0f;
    exponent -= small ? 1f : 0f;
    float square = m * m;
    float y = 7.0376836292E-2f;
    y = Math.fma(y, m, -1.1514610310E-1f);
    y = Math.fma(y, m, 1.1676998740E-1f);
    y = Math.fma(y, m, -1.2420140846E-1f);
    y = Math.fma(y, m, 1.4249322787E-1f);
    y = Math.fma(y, m, -1.6668057665E-1f);
    y = Math.fma(y, m, 2.0000714765E-1f);
    y = Math.fma(y, m, -2.4999993993E-1f);
    y = Math.fma(y, m, 3.3333331174E-1f);
    y *= m;
    y = Math.fma(y, square, exponent * -2.12194440e-4f);
    y = Math.fma(square, -0.5f, y);
    return Math.fma(exponent, 0.693359375f, m + y);
  }

  /** Sine of {@code x} for {@code |x| <= pi / 4}. */
  static float sin(float x) {
    float square = x * x;
    float y = -1.9515295891E-4f;
    y = Math.fma(y, square, 8.3321608736E-3f);
    y = Math.fma(y, square, -1.6666654611E-1f);
    return Math.fma(y * square, x, x);
  }

  /** Cosine of {@code x} for {@code |x| <= pi / 4}. */
  static float cos(float x) {
    float square = x * x;
    float y = 2.443315711809948E-5f;
    y = Math.fma(y, square, -1.388731625493765E-3f);
    y = Math.fma(y, square, 4.166664568298827E-2f);
    return Math.fma(y * square, square, square * -0.5f) + 1f;
  }

  /**
   * The radius {@code sqrt(-2 ln u)} with {@code u = (w + 1/2) 2^-32} rounded to float32, w
   * unsigned.
   */
  static float radius(int w) {
    float u = Math.fma((float) (w & 0xffffffffL), 0x1p-32f, 0x1p-33f);
    return (float) Math.sqrt(-2f * log(u));
  }

  /** The quarter turn nearest to the angle {@code 2 pi w 2^-32}: 0 to 3. */
  static int quarter(int w) {
    return (w + 0x20000000) >>> 30;
  }

  /** The rest of the angle {@code 2 pi w 2^-32} beyond its quarter turn, in radians. */
  static float rest(int w, int quarter) {
    return (float) (w - (quarter << 30)) * TURN_OF_32_BITS;
  }

  /** Cosine of {@code quarter} quarter turns plus an angle with the given sine and cosine. */
  static float turnedCos(float sin, float cos, int quarter) {
    float value = (quarter & 1) == 0 ? cos : sin;
    return Float.intBitsToFloat(Float.floatToRawIntBits(value) ^ (((quarter + 1) & 2) << 30));
  }

  /** Sine of {@code quarter} quarter turns plus an angle with the given sine and cosine. */
  static float turnedSin(float sin, float cos, int quarter) {
    float value = (quarter & 1) == 0 ? sin : cos;
    return Float.intBitsToFloat(Float.floatToRawIntBits(value) ^ ((quarter & 2) << 30));
  }
}
