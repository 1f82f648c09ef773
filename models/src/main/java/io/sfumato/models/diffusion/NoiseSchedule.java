// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/** The forward process: x_t = √ᾱ_t x₀ + √(1 - ᾱ_t) ε for t = 0 to T - 1, with ᾱ_t = Π (1 - β_i). */
public final class NoiseSchedule {
  private final SchedulerConfig config;
  private final double[] alphasCumprod;

  /** The schedule of a configuration. */
  public NoiseSchedule(SchedulerConfig config) {
    this.config = config;
    double[] betas = betas(config);
    double[] products = new double[betas.length];
    double product = 1;
    for (int i = 0; i < betas.length; i++) {
      product *= 1 - betas[i];
      products[i] = product;
    }
    this.alphasCumprod = config.rescaleBetasZeroSnr() ? zeroTerminal(products) : products;
  }

  private static double[] betas(SchedulerConfig c) {
    int n = c.numTrainTimesteps();
    List<Double> trained = c.trainedBetas();
    double[] b = new double[n];
    for (int i = 0; i < n; i++) {
      double u = n == 1 ? 0 : (double) i / (n - 1);
      b[i] =
          trained != null
              ? trained.get(i)
              : switch (c.betaSchedule()) {
                case "linear" -> c.betaStart() + u * (c.betaEnd() - c.betaStart());
                case "scaled_linear" -> {
                  double first = Math.sqrt(c.betaStart());
                  double root = first + u * (Math.sqrt(c.betaEnd()) - first);
                  yield root * root;
                }
                case "sigmoid" -> {
                  double s = 1 / (1 + Math.exp(-(-6 + 12 * u)));
                  yield s * (c.betaEnd() - c.betaStart()) + c.betaStart();
                }
                default -> Math.min(1 - cosine((i + 1.0) / n) / cosine((double) i / n), 0.999);
              };
    }
    return b;
  }

  /** ᾱ of the squared-cosine schedule (Nichol and Dhariwal, 2021). */
  private static double cosine(double t) {
    double c = Math.cos((t + 0.008) / 1.008 * Math.PI / 2);
    return c * c;
  }

  /** Shifts and scales √ᾱ so that the last is 0 and the first stays. */
  private static double[] zeroTerminal(double[] products) {
    double first = Math.sqrt(products[0]);
    double last = Math.sqrt(products[products.length - 1]);
    return Arrays.stream(products)
        .map(p -> (Math.sqrt(p) - last) * first / (first - last))
        .map(a -> a * a)
        .toArray();
  }

  /** The configuration. */
  public SchedulerConfig config() {
    return config;
  }

  /** T. */
  public int steps() {
    return alphasCumprod.length;
  }

  /** ᾱ_t; 1 for t below 0. */
  public double alphaBar(int t) {
    return t < 0 ? 1 : alphasCumprod[t];
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

  /**
   * The timesteps of a sampler with {@code n} steps, from noisy to clean, spaced as the
   * configuration says (diffusers scheduling_ddpm.py, set_timesteps).
   *
   * @throws IllegalArgumentException unless 1 ≤ n ≤ T
   */
  public int[] timesteps(int n) {
    int total = steps();
    if (n < 1 || n > total) {
      throw new IllegalArgumentException("sampling steps must be in [1, " + total + "]; got " + n);
    }
    int[] t = new int[n];
    for (int i = 0; i < n; i++) {
      int j = n - 1 - i; // the lists are made ascending and reversed
      t[i] =
          switch (config.timestepSpacing()) {
            case "leading" -> j * (total / n) + config.stepsOffset();
            case "trailing" -> (int) Math.rint(total - i * ((double) total / n)) - 1;
            default -> (int) Math.rint(n == 1 ? 0 : (double) j * (total - 1) / (n - 1));
          };
    }
    return t;
  }
}
