// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Loops of group normalisation. The "columns" loops see {@code rows} rows of {@code width}
 * consecutive floats with one parameter per column (channels-last); {@code width} must be a
 * multiple of {@link #lanes()}. The "plane" loops see {@code n} floats that share one channel.
 *
 * <p>The map is {@code z = (x - mean) scale + bias}, followed by SiLU if asked.
 */
public interface ChannelLoops {
  /** Column loops need widths that are a multiple of this power of two. */
  int lanes();

  /** {@code sum[j] = Σ_r x[r, j]}. */
  void columnSums(long x, int rows, int width, long sum);

  /** {@code d1[j] = Σ_r (x[r, j] - shift[j])}, {@code d2[j] = Σ_r (x[r, j] - shift[j])²}. */
  void columnDeviations(long x, int rows, int width, long shift, long d1, long d2);

  /** {@code y[r, j] = act((x[r, j] - mean[j]) scale[j] + bias[j])}. */
  void columnMap(
      long x, long y, int rows, int width, long mean, long scale, long bias, boolean silu);

  /** {@code dz = dy silu'(z)}; {@code dz} may be the memory of {@code dy}. */
  void columnSiluGradient(
      long x, long dy, long dz, int rows, int width, long mean, long scale, long bias);

  /** {@code s1[j] += Σ_r dz}, {@code s2[j] += Σ_r dz (x - mean[j])}. */
  void columnGradientSums(long x, long dz, int rows, int width, long mean, long s1, long s2);

  /** {@code dx[r, j] = dz[r, j] a[j] + (x[r, j] - mean[j]) b[j] + c[j]}. */
  void columnGradient(
      long x, long dz, long dx, int rows, int width, long mean, long a, long b, long c);

  /** {@code out[0] = Σ (x - shift)}, {@code out[1] = Σ (x - shift)²}. */
  void planeDeviations(long x, int n, float shift, double[] out);

  /** {@code y = act((x - mean) scale + bias)}. */
  void planeMap(long x, long y, int n, float mean, float scale, float bias, boolean silu);

  /**
   * {@code dz = dy act'(z)}, {@code out = {Σ dz, Σ dz (x - mean)}}. With SiLU {@code dz} is stored
   * too; without it {@code dz = dy} and {@code dz} is not touched.
   */
  void planeGradientSums(
      long x,
      long dy,
      long dz,
      int n,
      float mean,
      float scale,
      float bias,
      double[] out,
      boolean silu);

  /** {@code dx = dz a + (x - mean) b + c}. */
  void planeGradient(long x, long dz, long dx, int n, float mean, float a, float b, float c);
}
