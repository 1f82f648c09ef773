// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Ancestral sampling (Ho et al., 2020; diffusers scheduling_ddpm.py). */
public final class Ddpm implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(1e-4, 0.02, "linear")
          .prediction("epsilon", "sample", "v_prediction")
          .text(
              "variance_type",
              "fixed_small",
              "fixed_small",
              "fixed_small_log",
              "fixed_large",
              "fixed_large_log",
              "learned",
              "learned_range")
          .clip(true)
          .thresholding()
          .spacing("leading")
          .flag("rescale_betas_zero_snr", false);

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;
  private final X0Limit limit;
  private final String varianceType;

  Ddpm(SchedulerConfig config) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
    this.limit = X0Limit.of(config);
    this.varianceType = config.text("variance_type");
  }

  static void check(SchedulerConfig.Reading c, List<String> wrong) {
    if (c.is("variance_type", "fixed_large_log")) {
      wrong.add(
          "variance_type fixed_large_log takes the root of a logarithm that is negative, which is"
              + " not a number in the reference either; use fixed_large");
    }
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  @Override
  public Plan plan(Steps steps) {
    steps.without("DDPM", false, false);
    int[] times = Spacing.whole(config, steps.count());
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
    float barPrevious = i + 1 < plan.calls() ? schedule.bar((int) plan.time(i + 1)) : 1;
    float alpha = bar / barPrevious;
    float beta = 1 - alpha;
    Tensor x0 = limit.apply(prediction.x0(x, output.value(), F32.sqrt(bar), F32.sqrt(1 - bar)));
    float ofX0 = F32.sqrt(barPrevious) * beta / (1 - bar);
    float ofX = F32.sqrt(alpha) * (1 - barPrevious) / (1 - bar);
    Tensor mean = x0.mul(ofX0).add(x.mul(ofX));
    if (t == 0) {
      return new Run.Stepped(mean, () -> x0);
    }
    float small = Math.max((1 - barPrevious) / (1 - bar) * beta, 1e-20f);
    Tensor noise = deviation(small, beta, output.variance(), source.next(x.spec()));
    return new Run.Stepped(mean.add(noise), () -> x0);
  }

  /** The noise of a step, scaled by the standard deviation that the configuration asks for. */
  private Tensor deviation(float small, float beta, @Nullable Tensor learned, Tensor draw) {
    boolean wantsLearned = varianceType.startsWith("learned");
    if (wantsLearned != (learned != null)) {
      throw new IllegalArgumentException(
          "variance_type "
              + varianceType
              + (wantsLearned ? " needs" : " does not fit")
              + " a network with twice the channels of its input");
    }
    if (learned == null) {
      return draw.mul(F32.sqrt(varianceType.equals("fixed_large") ? beta : small));
    }
    if (varianceType.equals("learned")) {
      return draw.mul(learned.sqrt());
    }
    // learned_range: a fraction between the two logarithms (Nichol and Dhariwal, 2021)
    float high = F32.log(beta);
    float low = F32.log(small);
    Tensor fraction = learned.add(1).div(2);
    Tensor log = fraction.mul(high).add(fraction.neg().add(1).mul(low));
    return draw.mul(log.mul(0.5).exp());
  }
}
