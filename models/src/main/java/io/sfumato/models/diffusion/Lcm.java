// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.List;

/** Multistep consistency sampling (Luo et al., 2023; diffusers scheduling_lcm.py). */
public final class Lcm implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(0.00085, 0.012, "scaled_linear")
          .prediction("epsilon", "sample", "v_prediction")
          .integer("original_inference_steps", 50)
          .number("timestep_scaling", 10)
          .clip(false)
          .thresholding()
          .flag("set_alpha_to_one", true)
          .spacing("leading")
          .flag("rescale_betas_zero_snr", false);

  private static final float SIGMA_DATA = 0.5f;

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;
  private final X0Limit limit;

  Lcm(SchedulerConfig config) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
    this.limit = X0Limit.of(config);
    IgnoredKeys.log(
        config,
        "the distilled schedule alone says the timesteps, and the last step returns x0",
        "timestep_spacing",
        "steps_offset",
        "set_alpha_to_one");
  }

  static void check(SchedulerConfig.Reading c, List<String> wrong) {
    int original = c.integer("original_inference_steps");
    if (original < 1 || original > c.integer("num_train_timesteps")) {
      wrong.add(
          "original_inference_steps must be in [1, num_train_timesteps = "
              + c.integer("num_train_timesteps")
              + "]; got "
              + original);
    }
    SchedulerRules.positive(c, "timestep_scaling", wrong);
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  /** Every few of the steps that the model was distilled on. */
  @Override
  public Plan plan(Steps steps) {
    steps.without("LCM", false, false);
    int n = steps.count();
    int original = config.integer("original_inference_steps");
    if (n > original) {
      throw new IllegalArgumentException(
          "LCM sampling steps must be in [1, original_inference_steps = "
              + original
              + "]; got "
              + n);
    }
    int k = schedule.steps() / original;
    int[] times = new int[n];
    for (int i = 0; i < n; i++) {
      int index = (int) Math.floor(i * ((double) original / n));
      times[i] = (original - index) * k - 1;
    }
    Ddim.checkSignal(schedule, prediction, times);
    return Plan.ofTimes(times, schedule, steps);
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    return (output, x, i) -> step(plan, source, output, x, i);
  }

  private Run.Stepped step(Plan plan, NoiseSource source, Denoiser.Output output, Tensor x, int i) {
    int t = (int) plan.time(i);
    float bar = schedule.bar(t);
    Tensor x0 =
        limit.apply(prediction.x0(x, output.onlyValue("LCM"), F32.sqrt(bar), F32.sqrt(1 - bar)));
    float scaled = t * (float) config.number("timestep_scaling");
    float square = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
    Tensor denoised =
        x0.mul(scaled / F32.sqrt(square)).add(x.mul(SIGMA_DATA * SIGMA_DATA / square));
    if (i + 1 == plan.calls()) {
      return new Run.Stepped(denoised, () -> denoised);
    }
    float next = schedule.bar((int) plan.time(i + 1));
    Tensor noise = source.next(x.spec()).mul(F32.sqrt(1 - next));
    return new Run.Stepped(denoised.mul(F32.sqrt(next)).add(noise), () -> denoised);
  }
}
