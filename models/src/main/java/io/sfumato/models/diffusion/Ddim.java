// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;

/**
 * DDIM (Song et al., 2021; diffusers scheduling_ddim.py).
 *
 * <p>A step leads from t to t - ⌊T/N⌋, as in the reference, which is not the next entry of the list
 * unless N divides T; {@link #exactSteps} leads there.
 */
public final class Ddim implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(1e-4, 0.02, "linear")
          .prediction("epsilon", "sample", "v_prediction")
          .clip(true)
          .thresholding()
          .flag("set_alpha_to_one", true)
          .spacing("leading")
          .flag("rescale_betas_zero_snr", false);

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;
  private final X0Limit limit;
  private final double eta;
  private final boolean clippedEpsilon;
  private final boolean exactSteps;

  Ddim(SchedulerConfig config) {
    this(config, 0, false, false);
  }

  private Ddim(SchedulerConfig config, double eta, boolean clippedEpsilon, boolean exactSteps) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
    this.limit = X0Limit.of(config);
    this.eta = eta;
    this.clippedEpsilon = clippedEpsilon;
    this.exactSteps = exactSteps;
  }

  /** The DDIM sampler of a {@code DDIMScheduler}. */
  public static Ddim of(SchedulerConfig config) {
    return (Ddim) Sampler.of(config);
  }

  /** This sampler with fresh noise: 0 for none, 1 for the variance of DDPM. */
  public Ddim eta(double value) {
    if (!(value >= 0 && value <= 1)) {
      throw new IllegalArgumentException("eta must be in [0, 1]; got " + value);
    }
    return new Ddim(config, value, clippedEpsilon, exactSteps);
  }

  /**
   * This sampler with ε taken again from the limited x₀ ({@code use_clipped_model_output}); wanted
   * where guidance drives x₀ out of its range.
   */
  public Ddim clippedEpsilon(boolean value) {
    return new Ddim(config, eta, value, exactSteps);
  }

  /** This sampler with steps that lead to the next entry of the list, and at last to x₀. */
  public Ddim exactSteps(boolean value) {
    return new Ddim(config, eta, clippedEpsilon, value);
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  @Override
  public Plan plan(Steps steps) {
    steps.without("DDIM", false, false);
    int[] times = Spacing.whole(config, steps.count());
    checkSignal(schedule, prediction, times);
    return Plan.ofTimes(times, schedule, steps);
  }

  /** Refuses to estimate x₀ from ε where there is no signal. */
  static void checkSignal(NoiseSchedule schedule, Prediction prediction, int[] times) {
    for (int t : times) {
      if (t < 0 || t >= schedule.steps()) {
        throw new IllegalArgumentException(
            "timestep "
                + t
                + " is not in [0, "
                + (schedule.steps() - 1)
                + "]: steps_offset and the number of steps do not fit");
      }
      if (prediction == Prediction.EPSILON && schedule.bar(t) == 0) {
        throw new IllegalArgumentException(
            "rescale_betas_zero_snr leaves no signal at timestep "
                + t
                + ", where ε says nothing of x₀: it needs v_prediction or sample, or leading"
                + " timesteps");
      }
    }
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    return (output, x, i) -> step(plan, source, output, x, i);
  }

  private Run.Stepped step(Plan plan, NoiseSource source, Denoiser.Output output, Tensor x, int i) {
    int t = (int) plan.time(i);
    int listed = i + 1 < plan.calls() ? (int) plan.time(i + 1) : -1;
    int previous = exactSteps ? listed : t - schedule.steps() / plan.count();
    float bar = schedule.bar(t);
    float last = config.flag("set_alpha_to_one") ? 1 : schedule.bar(0);
    float barPrevious = previous >= 0 ? schedule.bar(previous) : last;
    float a = F32.sqrt(bar);
    float s = F32.sqrt(1 - bar);
    Tensor said = output.onlyValue("DDIM");
    Tensor x0 = limit.apply(prediction.x0(x, said, a, s));
    Tensor epsilon =
        clippedEpsilon ? F32.quotient(x.sub(x0.mul(a)), s) : prediction.epsilon(x, said, a, s);
    float variance = (1 - barPrevious) / (1 - bar) * (1 - bar / barPrevious);
    float std = (float) eta * F32.sqrt(variance);
    float ofEpsilon = F32.sqrt(Math.max(1 - barPrevious - std * std, 0));
    Tensor next = x0.mul(F32.sqrt(barPrevious)).add(epsilon.mul(ofEpsilon));
    if (eta > 0) {
      next = next.add(source.next(x.spec()).mul(std));
    }
    return new Run.Stepped(next, () -> x0);
  }
}
