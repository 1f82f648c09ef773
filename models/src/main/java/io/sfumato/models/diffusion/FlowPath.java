// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.DoubleUnaryOperator;

/**
 * The way from data to noise that a flow follows (Ma et al., 2024, SiT, section 2): x(s) = α(s) x₀
 * + σ(s) ε for s from 0, the data, to 1, the noise. A network that predicts {@link Prediction#FLOW}
 * learns its velocity dx/ds = α'(s) x₀ + σ'(s) ε. (SiT counts time the other way, t = 1 - s, so its
 * velocities have the other sign.)
 */
public enum FlowPath {
  /** α = 1 - s, σ = s: straight lines, the rectified flow. */
  LINEAR,
  /** α = cos(π s / 2), σ = sin(π s / 2): the variance stays that of data of variance 1. */
  GVP;

  private static final double QUARTER = Math.PI / 2;

  /**
   * The path of a name.
   *
   * @throws IllegalArgumentException if the name is unknown, listing those known
   */
  public static FlowPath parse(String name) {
    for (FlowPath path : values()) {
      if (path.name().toLowerCase(Locale.ROOT).equals(name)) {
        return path;
      }
    }
    throw new IllegalArgumentException("a flow's path must be linear or gvp; got '" + name + "'");
  }

  /** α(s), the share of the data. */
  public double alpha(double s) {
    return this == LINEAR ? 1 - s : Math.cos(QUARTER * s);
  }

  /** σ(s), the share of the noise. */
  public double sigma(double s) {
    return this == LINEAR ? s : Math.sin(QUARTER * s);
  }

  /** dα/ds. */
  public double alphaRate(double s) {
    return this == LINEAR ? -1 : -QUARTER * Math.sin(QUARTER * s);
  }

  /** dσ/ds. */
  public double sigmaRate(double s) {
    return this == LINEAR ? 1 : QUARTER * Math.cos(QUARTER * s);
  }

  /** α σ' - α' σ, which is constant and not 0 on both paths. */
  private double determinant(double s) {
    return alpha(s) * sigmaRate(s) - alphaRate(s) * sigma(s);
  }

  /** {@code α x₀ + σ noise}, each sample at its own s in [0, 1]. */
  public Tensor mix(Tensor x0, Tensor noise, double[] s) {
    return combine(x0, noise, s, this::alpha, this::sigma);
  }

  /** {@code α' x₀ + σ' noise}: what the network learns. */
  public Tensor velocity(Tensor x0, Tensor noise, double[] s) {
    return combine(x0, noise, s, this::alphaRate, this::sigmaRate);
  }

  private static Tensor combine(
      Tensor x0, Tensor noise, double[] s, DoubleUnaryOperator ofX0, DoubleUnaryOperator ofNoise) {
    Tensor a = NoiseSchedule.perSample(Arrays.stream(s).map(ofX0).toArray(), x0);
    Tensor b = NoiseSchedule.perSample(Arrays.stream(s).map(ofNoise).toArray(), x0);
    return x0.mul(a).add(noise.mul(b));
  }

  /** (α / σ)², the signal-to-noise ratio. */
  double snr(double s) {
    double ratio = alpha(s) / sigma(s);
    return ratio * ratio;
  }

  /**
   * The noise that a velocity implies, {@code (α v - α' x) / (α σ' - α' σ)}.
   *
   * @param x a sample at s
   * @param velocity v there
   */
  public Tensor noise(Tensor x, Tensor velocity, double s) {
    double d = determinant(s);
    return velocity.mul(alpha(s) / d).sub(x.mul(alphaRate(s) / d));
  }

  /**
   * The clean sample that a velocity implies, {@code (σ' x - σ v) / (α σ' - α' σ)}.
   *
   * @param x a sample at s
   * @param velocity v there
   */
  public Tensor x0(Tensor x, Tensor velocity, double s) {
    double d = determinant(s);
    return x.mul(sigmaRate(s) / d).sub(velocity.mul(sigma(s) / d));
  }

  /** The score ∇ log p, {@code -noise / σ}, for s above 0. */
  public Tensor score(Tensor x, Tensor velocity, double s) {
    return noise(x, velocity, s).div(-sigma(s));
  }

  /**
   * The diffusion of the stochastic process whose noise is scored by denoising: σ (ασ' - α'σ) / α.
   */
  double scoreBased(double s) {
    return sigma(s) * determinant(s) / alpha(s);
  }
}
