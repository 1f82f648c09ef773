// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.Arrays;

/**
 * The forward process: x_t = √ᾱ_t x₀ + √(1 - ᾱ_t) ε for t = 0 to T - 1, with ᾱ_t = Π (1 - β_i). For
 * a rectified flow, which has no β, only T is known here.
 */
public final class NoiseSchedule {
  /** ᾱ of the last timestep where it should be 0 and must be finite in σ. */
  private static final float ALMOST_NONE = 0x1p-24f;

  private final SchedulerConfig config;
  private final float[] alphasCumprod;

  /** The schedule of a configuration. */
  public NoiseSchedule(SchedulerConfig config) {
    this.config = config;
    this.alphasCumprod = config.has("trained_betas") ? Betas.alphasCumprod(config) : new float[0];
  }

  /** The configuration. */
  public SchedulerConfig config() {
    return config;
  }

  /** T. */
  public int steps() {
    return config.trainTimesteps();
  }

  /** ᾱ_t in 32 bits, as the reference holds it. */
  float bar(int t) {
    if (alphasCumprod.length == 0) {
      throw new IllegalStateException(config.className() + " has no betas");
    }
    return alphasCumprod[t];
  }

  /** ᾱ_t; 1 for t below 0. */
  public double alphaBar(int t) {
    return t < 0 ? 1 : bar(t);
  }

  /**
   * σ/α of all timesteps, √((1 - ᾱ)/ᾱ).
   *
   * @param finite whether a last ᾱ that was made 0 is taken as 2⁻²⁴
   */
  float[] sigmas(boolean finite) {
    float[] sigmas = new float[steps()];
    for (int t = 0; t < sigmas.length; t++) {
      float bar = bar(t, finite);
      // √(2²⁴ - 1) lies halfway between two floats; PyTorch's vector library gives the upper one.
      sigmas[t] = bar == ALMOST_NONE ? 4096 : F32.sqrt((1 - bar) / bar);
    }
    return sigmas;
  }

  /** ᾱ_t, where the last is 2⁻²⁴ if it was rescaled to 0 and must be finite in σ. */
  float bar(int t, boolean finite) {
    boolean last = t == alphasCumprod.length - 1;
    return finite && last && config.flag("rescale_betas_zero_snr") ? ALMOST_NONE : bar(t);
  }

  /** The signal-to-noise ratio ᾱ / (1 - ᾱ). */
  public double snr(int t) {
    return alphaBar(t) / (1 - alphaBar(t));
  }

  /** {@code √ᾱ_t x₀ + √(1 - ᾱ_t) noise}, each sample at its own t. */
  public Tensor addNoise(Tensor x0, Tensor noise, int[] t) {
    return x0.mul(root(x0, t, false)).add(noise.mul(root(x0, t, true)));
  }

  /** {@code √ᾱ_t noise - √(1 - ᾱ_t) x₀}: the target of v-prediction. */
  public Tensor velocity(Tensor x0, Tensor noise, int[] t) {
    return noise.mul(root(x0, t, false)).sub(x0.mul(root(x0, t, true)));
  }

  /** √ᾱ, or √(1 - ᾱ), shaped to scale the samples of {@code like}. */
  private Tensor root(Tensor like, int[] t, boolean complement) {
    double[] values =
        Arrays.stream(t)
            .mapToDouble(i -> Math.sqrt(complement ? 1 - alphaBar(i) : alphaBar(i)))
            .toArray();
    return perSample(values, like);
  }

  /** One value per sample as a tensor [B, 1, 1, …] that broadcasts against {@code like}. */
  static Tensor perSample(double[] values, Tensor like) {
    int[] shape = new int[like.rank()];
    Arrays.fill(shape, 1);
    shape[0] = values.length;
    return Tensor.of(values, like.dtype(), like.device(), shape);
  }
}
