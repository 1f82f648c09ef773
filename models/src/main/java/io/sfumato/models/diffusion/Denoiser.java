// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.models.nn.BatchShare;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Varying;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A network together with its noise schedule and parameterisation: what samplers call, and the
 * owner of the training loss.
 */
public final class Denoiser {
  private final Network network;
  private final NoiseSchedule schedule;
  private final LossOptions training;
  private final @Nullable Tensor condition;

  /** The denoiser of a network trained for {@code schedule.config().prediction()}. */
  public Denoiser(Network network, NoiseSchedule schedule) {
    this(network, schedule, LossOptions.PLAIN, null);
  }

  private Denoiser(
      Network network, NoiseSchedule schedule, LossOptions training, @Nullable Tensor condition) {
    this.network = network;
    this.schedule = schedule;
    this.training = training;
    this.condition = condition;
  }

  /**
   * The same with losses weighted by min(SNR, γ)/SNR for ε and min(SNR, γ)/(SNR + 1) for v (Hang et
   * al., 2023).
   *
   * @param gamma γ, usually 5
   */
  public Denoiser withMinSnr(double gamma) {
    return with(training.weighted(LossWeight.minSnr(gamma)));
  }

  /** The same denoiser with another loss. */
  public Denoiser with(LossOptions options) {
    return new Denoiser(network, schedule, options, condition);
  }

  /** The same denoiser around another network, for example a guided one. */
  public Denoiser with(Network other) {
    return new Denoiser(other, schedule, training, condition);
  }

  /** The same denoiser for a condition: labels or another conditioning, one row per sample. */
  public Denoiser given(@Nullable Tensor rows) {
    return new Denoiser(network, schedule, training, rows);
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
   * The training loss of one batch at random timesteps: the mean squared error of the prediction,
   * weighted as the {@link LossOptions} say. The timesteps of a batch are spread evenly from one
   * random start, which lowers the variance of the loss (Kingma et al., 2021, appendix I.1); each
   * alone is uniform. A network with a learned variance gets the hybrid loss (Nichol and Dhariwal,
   * 2021): the variational bound, for the variance alone, is added.
   *
   * @param x0 clean samples [B, C, ...], scaled to about [-1, 1]
   * @param labels labels or another conditioning; null if there is none
   * @param rng the source of timesteps and noise
   * @return a scalar
   */
  public Tensor loss(Tensor x0, @Nullable Tensor labels, Rng rng) {
    return loss(noised(x0, rng), labels);
  }

  /**
   * A batch as a network in training sees it, and what it shall say.
   *
   * @param x0 clean samples [B, C, ...]
   * @param noisy the same with noise
   * @param target what the network shall predict, of the same shape
   * @param weights of the squared errors, [B, 1, ...]; null for equal ones
   * @param times what the network gets for timesteps, one per sample
   */
  public record Noised(
      Tensor x0, Tensor noisy, Tensor target, @Nullable Tensor weights, double[] times) {}

  /**
   * The random part of {@link #loss(Tensor, Tensor, Rng)}: timesteps and noise.
   *
   * @param x0 clean samples [B, C, ...], scaled to about [-1, 1]
   * @param rng the source of timesteps and noise
   */
  public Noised noised(Tensor x0, Rng rng) {
    int batch = x0.dim(0);
    double first = rng.fork("timesteps").uniform(1).item();
    double[] u = new double[batch];
    BatchShare share = BatchShare.current();
    double all = (double) batch * share.count();
    Arrays.setAll(u, i -> (first + share.number(i, batch) / all) % 1);
    Tensor noise = share.normal(rng.fork("noise"), x0.spec());
    if (training.offsetNoise() != 0) {
      TensorSpec perChannel = x0.spec().with(training.offsetShape(x0.shape()));
      Tensor offset = share.normal(rng.fork("offset"), perChannel);
      noise = noise.add(offset.mul(training.offsetNoise()));
    }
    Tensor added = noise;
    if (training.inputPerturbation() != 0) {
      Tensor more = share.normal(rng.fork("perturbation"), x0.spec());
      added = noise.add(more.mul(training.inputPerturbation()));
    }
    if (prediction() == Prediction.FLOW) {
      return flow(x0, noise, added, u);
    }
    int[] t = new int[batch];
    Arrays.setAll(t, i -> Math.min((int) (u[i] * schedule.steps()), schedule.steps() - 1));
    return noised(x0, noise, added, t);
  }

  private Noised noised(Tensor x0, Tensor noise, Tensor added, int[] t) {
    Tensor noisy = schedule.addNoise(x0, added, t);
    Tensor target =
        switch (prediction()) {
          case EPSILON -> noise;
          case SAMPLE -> x0;
          case V_PREDICTION -> schedule.velocity(x0, noise, t);
          case FLOW -> throw new IllegalStateException("a flow has continuous times");
        };
    double[] snr = Arrays.stream(t).mapToDouble(schedule::snr).toArray();
    double[] times = Arrays.stream(t).asDoubleStream().toArray();
    return new Noised(x0, noisy, target, weights(snr, target), times);
  }

  private Noised flow(Tensor x0, Tensor noise, Tensor added, double[] sigma) {
    FlowPath path = training.path();
    Tensor target = path.velocity(x0, noise, sigma);
    double[] snr = Arrays.stream(sigma).map(path::snr).toArray();
    double[] times = Arrays.stream(sigma).map(v -> v * schedule.steps()).toArray();
    return new Noised(x0, path.mix(x0, added, sigma), target, weights(snr, target), times);
  }

  private @Nullable Tensor weights(double[] snr, Tensor target) {
    LossWeight weight = training.weight();
    if (weight == LossWeight.NONE) {
      return null;
    }
    double[] weights =
        Arrays.stream(snr).map(r -> LossWeight.ofOutput(weight, r, prediction())).toArray();
    return NoiseSchedule.perSample(weights, target);
  }

  /** The training loss at given timesteps and noise. */
  public Tensor loss(Tensor x0, Tensor noise, int[] t, @Nullable Tensor labels) {
    return loss(noised(x0, noise, noise, t), labels);
  }

  /**
   * The loss of a flow. On the linear path x = (1 - σ) x₀ + σ ε, and the target is ε - x₀; {@link
   * LossOptions#path()} names another. The network sees t = 1000 σ.
   *
   * @param sigma places on the path in [0, 1], one per sample
   */
  public Tensor flowLoss(Tensor x0, Tensor noise, double[] sigma, @Nullable Tensor labels) {
    return loss(flow(x0, noise, noise, sigma), labels);
  }

  /**
   * The training loss of samples that have their noise already.
   *
   * @param batch as {@link #noised} gives it
   * @param labels labels or another conditioning; null if there is none
   * @return a scalar
   * @throws IllegalStateException if the network has a learned variance and this is being recorded:
   *     the bound depends on numbers of the host
   */
  public Tensor loss(Noised batch, @Nullable Tensor labels) {
    Tensor output = network.call(batch.noisy, batch.times, labels);
    int channels = batch.noisy.dim(1);
    if (prediction() == Prediction.FLOW || output.dim(1) != 2 * channels) {
      return weighted(output, batch);
    }
    if (Varying.isRecording()) {
      throw new IllegalStateException(
          "the loss of a learned variance depends on numbers of the host, which a recorded step"
              + " would repeat");
    }
    int[] t = Arrays.stream(batch.times).mapToInt(v -> (int) v).toArray();
    Tensor value = output.slice(1, 0, channels);
    Tensor variance = output.slice(1, channels, 2 * channels);
    return weighted(value, batch)
        .add(VariationalBound.of(schedule, batch.x0, batch.noisy, t, value, variance));
  }

  private static Tensor weighted(Tensor output, Noised batch) {
    if (batch.weights == null) {
      return NN.mse(output, batch.target);
    }
    Tensor difference = output.sub(batch.target);
    Tensor squared = difference.mul(difference);
    return Num.mean(squared.mul(batch.weights));
  }

  // ---- sampling

  /**
   * What a network said.
   *
   * @param value the prediction, [B, C, ...]
   * @param variance the second half of the channels of a network that learned its variance
   */
  public record Output(Tensor value, @Nullable Tensor variance) {
    /** The prediction, for a sampler that has no use for a learned variance. */
    Tensor onlyValue(String sampler) {
      if (variance != null) {
        throw new IllegalArgumentException(
            sampler + " does not fit a network with twice the channels of its input");
      }
      return value;
    }
  }

  /** Runs the network at one time for the whole batch. */
  public Output predict(Tensor x, double time) {
    double[] times = new double[x.dim(0)];
    Arrays.fill(times, time);
    Tensor output = network.call(x, times, condition);
    int channels = x.dim(1);
    if (output.dim(1) == 2 * channels) {
      return new Output(output.slice(1, 0, channels), output.slice(1, channels, 2 * channels));
    }
    if (output.dim(1) != channels) {
      throw new IllegalArgumentException(
          "a network of samples "
              + x.shape()
              + " must give as many channels, or twice as many with a learned variance; got "
              + output.shape());
    }
    return new Output(output, null);
  }

  /**
   * What a network output means at one timestep.
   *
   * @param x0 the estimate of the clean sample, limited as the configuration says
   * @param epsilon the estimate of the noise, from the unlimited output
   */
  public record Estimate(Tensor x0, Tensor epsilon) {}

  /** Runs the network at one timestep of its schedule. */
  public Estimate estimate(Tensor x, int t) {
    Tensor output = predict(x, t).value();
    float a = F32.sqrt(schedule.bar(t));
    float s = F32.sqrt(1 - schedule.bar(t));
    Tensor x0 = X0Limit.of(schedule.config()).apply(prediction().x0(x, output, a, s));
    return new Estimate(x0, prediction().epsilon(x, output, a, s));
  }
}
