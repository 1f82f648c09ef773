// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A network together with its noise schedule and parameterisation: turns predictions into x₀ and ε
 * for samplers, and owns the training loss.
 */
public final class Denoiser {
  private final Network network;
  private final NoiseSchedule schedule;
  private final double minSnrGamma;

  /** The denoiser of a network trained for {@code schedule.config().prediction()}. */
  public Denoiser(Network network, NoiseSchedule schedule) {
    this(network, schedule, 0);
  }

  private Denoiser(Network network, NoiseSchedule schedule, double minSnrGamma) {
    this.network = network;
    this.schedule = schedule;
    this.minSnrGamma = minSnrGamma;
  }

  /**
   * The same with losses weighted by min(SNR, γ)/SNR for ε and min(SNR, γ)/(SNR + 1) for v (Hang et
   * al., 2023).
   *
   * @param gamma γ, usually 5
   */
  public Denoiser withMinSnr(double gamma) {
    return new Denoiser(network, schedule, gamma);
  }

  /** The same denoiser around another network, for example a guided one. */
  public Denoiser with(Network other) {
    return new Denoiser(other, schedule, minSnrGamma);
  }

  /** The network. */
  public Network network() {
    return network;
  }

  /** The noise schedule. */
  public NoiseSchedule schedule() {
    return schedule;
  }

  /** What the network predicts. */
  public Prediction prediction() {
    return schedule.config().prediction();
  }

  // ---- training

  /**
   * The training loss of one batch at random timesteps: the mean squared error of the prediction.
   * The timesteps of a batch are spread evenly from one random start, which lowers the variance of
   * the loss (Kingma et al., 2021, appendix I.1); each alone is uniform.
   *
   * @param x0 clean samples [B, C, ...], scaled to about [-1, 1]
   * @param condition labels or another conditioning; null if there is none
   * @param rng the source of timesteps and noise
   * @return a scalar
   */
  public Tensor loss(Tensor x0, @Nullable Tensor condition, Rng rng) {
    int batch = x0.dim(0);
    double first = rng.fork("timesteps").uniform(1).item();
    double[] u = new double[batch];
    Arrays.setAll(u, i -> (first + (double) i / batch) % 1);
    Tensor noise = rng.fork("noise").normal(x0.spec());
    if (prediction() == Prediction.FLOW) {
      return flowLoss(x0, noise, u, condition);
    }
    int[] t = new int[batch];
    Arrays.setAll(t, i -> Math.min((int) (u[i] * schedule.steps()), schedule.steps() - 1));
    return loss(x0, noise, t, condition);
  }

  /** The training loss at given timesteps and noise. */
  public Tensor loss(Tensor x0, Tensor noise, int[] t, @Nullable Tensor condition) {
    Tensor noisy = schedule.addNoise(x0, noise, t);
    Tensor output = network.call(noisy, Arrays.stream(t).asDoubleStream().toArray(), condition);
    Tensor target =
        switch (prediction()) {
          case EPSILON -> noise;
          case SAMPLE -> x0;
          case V_PREDICTION -> schedule.velocity(x0, noise, t);
          case FLOW -> throw new IllegalStateException("a flow has continuous times");
        };
    if (minSnrGamma == 0) {
      return NN.mse(output, target);
    }
    double[] weights = Arrays.stream(t).mapToDouble(this::minSnrWeight).toArray();
    Tensor difference = output.sub(target);
    Tensor squared = difference.mul(difference);
    return Num.mean(squared.mul(NoiseSchedule.perSample(weights, x0)));
  }

  private double minSnrWeight(int t) {
    double snr = schedule.snr(t);
    double clipped = Math.min(snr, minSnrGamma);
    return switch (prediction()) {
      case EPSILON -> clipped / Math.max(snr, 1e-20);
      case V_PREDICTION -> clipped / (snr + 1);
      case SAMPLE, FLOW -> clipped;
    };
  }

  /**
   * The rectified-flow loss: x = (1 - σ) x₀ + σ ε, target ε - x₀, the network sees t = 1000 σ.
   *
   * @param sigma noise levels in [0, 1], one per sample
   */
  public Tensor flowLoss(Tensor x0, Tensor noise, double[] sigma, @Nullable Tensor condition) {
    Tensor s = NoiseSchedule.perSample(sigma, x0);
    Tensor direction = noise.sub(x0);
    Tensor noisy = x0.add(direction.mul(s));
    double[] t = Arrays.stream(sigma).map(v -> v * schedule.steps()).toArray();
    return NN.mse(network.call(noisy, t, condition), direction);
  }

  // ---- sampling

  /**
   * What a network output means at one timestep.
   *
   * @param x0 the estimate of the clean sample, limited as the configuration says
   * @param epsilon the estimate of the noise, from the unlimited output
   * @param variance the second half of the channels of a network that learned its variance
   */
  public record Estimate(Tensor x0, Tensor epsilon, @Nullable Tensor variance) {}

  /** Runs the network at one timestep for the whole batch. */
  public Estimate estimate(Tensor x, int t, @Nullable Tensor condition) {
    double[] times = new double[x.dim(0)];
    Arrays.fill(times, t);
    Tensor output = network.call(x, times, condition);
    Tensor variance = null;
    int channels = x.dim(1);
    if (output.dim(1) == 2 * channels) {
      variance = output.slice(1, channels, 2 * channels);
      output = output.slice(1, 0, channels);
    }
    double a = Math.sqrt(schedule.alphaBar(t));
    double s = Math.sqrt(1 - schedule.alphaBar(t));
    Tensor x0 =
        switch (prediction()) {
          case EPSILON -> x.sub(output.mul(s)).div(a);
          case SAMPLE -> output;
          case V_PREDICTION -> x.mul(a).sub(output.mul(s));
          case FLOW -> throw new IllegalStateException("a flow is sampled by Samplers.flow");
        };
    Tensor epsilon =
        switch (prediction()) {
          case EPSILON -> output;
          case SAMPLE -> x.sub(x0.mul(a)).div(s);
          case V_PREDICTION -> output.mul(a).add(x.mul(s));
          case FLOW -> throw new IllegalStateException("a flow is sampled by Samplers.flow");
        };
    return new Estimate(limit(x0), epsilon, variance);
  }

  private Tensor limit(Tensor x0) {
    SchedulerConfig c = schedule.config();
    if (c.thresholding()) {
      return dynamicThreshold(x0, c.dynamicThresholdingRatio(), c.sampleMaxValue());
    }
    return c.clipSample() ? Num.clamp(x0, -c.clipSampleRange(), c.clipSampleRange()) : x0;
  }

  /** Clips each sample to its own quantile of |x₀| and divides by it. */
  private static Tensor dynamicThreshold(Tensor x0, double ratio, double most) {
    int batch = x0.dim(0);
    double[] limits = new double[batch];
    for (int b = 0; b < batch; b++) {
      double[] magnitudes = x0.select(0, b).toDoubleArray();
      Arrays.setAll(magnitudes, i -> Math.abs(magnitudes[i]));
      Arrays.sort(magnitudes);
      double position = ratio * (magnitudes.length - 1);
      int below = (int) position;
      int above = Math.min(below + 1, magnitudes.length - 1);
      double quantile =
          magnitudes[below] + (position - below) * (magnitudes[above] - magnitudes[below]);
      limits[b] = Math.min(Math.max(quantile, 1), most);
    }
    Tensor limit = NoiseSchedule.perSample(limits, x0);
    return Num.minimum(Num.maximum(x0, limit.neg()), limit).div(limit);
  }
}
