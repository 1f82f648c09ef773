// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.BatchShare;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;

/**
 * The Gaussian with diagonal covariance that an encoder predicts, N(μ, σ²) (Kingma and Welling
 * 2013; diffusers models/autoencoders/vae.py). Logarithms of variances are kept in [-30, 20]. Its
 * tensors belong to the scope in which it was made.
 */
public final class DiagonalGaussianDistribution {
  private static final double LOG_TWO_PI = Math.log(2 * Math.PI);

  private final Tensor parameters;
  private final Tensor mean;
  private final Tensor logvar;
  private final boolean deterministic;

  /**
   * The distribution of {@code parameters}, [B, 2 C, h, w]: means, then logarithms of variances.
   */
  public DiagonalGaussianDistribution(Tensor parameters) {
    this(parameters, false);
  }

  /**
   * A distribution, or only its mean.
   *
   * @param parameters [B, 2 C, ...]: means, then logarithms of variances
   * @param deterministic whether variances are taken to be 0
   */
  public DiagonalGaussianDistribution(Tensor parameters, boolean deterministic) {
    if (parameters.rank() < 2 || parameters.dim(1) % 2 != 0) {
      throw new ShapeException(
          "parameters of a Gaussian must be [B, 2 C, ...]; got " + parameters.spec());
    }
    List<Tensor> halves = Shaping.chunk(parameters, 2, 1);
    this.parameters = parameters;
    this.mean = halves.get(0);
    this.logvar = Num.clamp(halves.get(1), -30, 20);
    this.deterministic = deterministic;
  }

  /** What the encoder predicted: [B, 2 C, ...]. */
  public Tensor parameters() {
    return parameters;
  }

  /** μ: [B, C, ...]. */
  public Tensor mean() {
    return mean;
  }

  /** ln σ², between -30 and 20: [B, C, ...]. */
  public Tensor logvar() {
    return logvar;
  }

  /** σ: [B, C, ...]. */
  public Tensor std() {
    return deterministic ? Tensor.zeros(mean.spec()) : logvar.mul(0.5).exp();
  }

  /** σ²: [B, C, ...]. */
  public Tensor var() {
    return deterministic ? Tensor.zeros(mean.spec()) : logvar.exp();
  }

  /** The most probable value, μ. */
  public Tensor mode() {
    return mean;
  }

  /** A draw μ + σ ε with ε from {@code rng}. */
  public Tensor sample(Rng rng) {
    return sample(BatchShare.current().normal(rng, mean.spec()));
  }

  /** The draw μ + σ ε of a given ε, [B, C, ...]. */
  public Tensor sample(Tensor noise) {
    return Scope.run(() -> mean.add(std().mul(noise)));
  }

  /**
   * The divergence from the standard normal distribution, {@code ½ Σ (μ² + σ² - 1 - ln σ²)}, one
   * value per sample: [B]. Of a deterministic distribution it is the one value 0.
   */
  public Tensor kl() {
    return deterministic
        ? zero()
        : Scope.run(() -> halfSum(mean.square().add(var()).sub(1).sub(logvar)));
  }

  /**
   * The divergence KL(this ‖ other), one value per sample: [B]. Of a deterministic distribution it
   * is the one value 0.
   */
  public Tensor kl(DiagonalGaussianDistribution other) {
    if (deterministic) {
      return zero();
    }
    return Scope.run(
        () -> {
          Tensor var = other.var();
          Tensor distance = mean.sub(other.mean).square().div(var);
          return halfSum(distance.add(var().div(var)).sub(1).sub(logvar).add(other.logvar));
        });
  }

  /**
   * The negative logarithm of the density at {@code sample}, {@code ½ Σ (ln 2π + ln σ² + (x - μ)² /
   * σ²)}, one value per sample: [B]. Of a deterministic distribution it is the one value 0.
   */
  public Tensor nll(Tensor sample) {
    return deterministic
        ? zero()
        : Scope.run(
            () -> halfSum(sample.sub(mean).square().div(var()).add(logvar).add(LOG_TWO_PI)));
  }

  private Tensor zero() {
    return Tensor.zeros(mean.spec().with(Shape.of(1)));
  }

  /** Half the sum over all axes but the first. */
  private static Tensor halfSum(Tensor x) {
    int[] axes = new int[x.rank() - 1];
    for (int i = 0; i < axes.length; i++) {
      axes[i] = i + 1;
    }
    return Num.sum(x, axes).mul(0.5);
  }
}
