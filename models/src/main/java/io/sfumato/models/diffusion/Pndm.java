// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Pseudo numerical methods (Liu et al., 2022; diffusers scheduling_pndm.py): twelve calls of
 * Runge-Kutta first (PRK, unless {@code skip_prk_steps}), then a linear multistep method (PLMS).
 */
public final class Pndm implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(1e-4, 0.02, "linear")
          .prediction("epsilon", "v_prediction")
          .flag("skip_prk_steps", false)
          .flag("set_alpha_to_one", false)
          .spacing("leading");

  private static final int PRK_CALLS = 12;

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;

  Pndm(SchedulerConfig config) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  private boolean prk() {
    return !config.flag("skip_prk_steps");
  }

  @Override
  public Plan plan(Steps steps) {
    steps.without("PNDM", false, false);
    int n = steps.count();
    int[] t = Spacing.whole(config, n);
    if (prk()) {
      if (n < 4) {
        throw new IllegalArgumentException(
            "PNDM needs at least 4 steps for its Runge-Kutta start; got "
                + n
                + " (skip_prk_steps does without)");
      }
      if (steps.first() > 0) {
        throw new IllegalArgumentException(
            "PNDM starts from an image only with skip_prk_steps: its Runge-Kutta calls belong to"
                + " the noisy end");
      }
      t = withRungeKutta(t, schedule.steps() / n / 2);
    } else {
      t = withSecondTwice(t);
    }
    Ddim.checkSignal(schedule, prediction, t);
    return Plan.ofTimes(t, schedule, steps);
  }

  /** The second timestep twice: the first multistep call is done again with what it found. */
  private static int[] withSecondTwice(int[] t) {
    if (t.length == 1) {
      return t;
    }
    int[] twice = new int[t.length + 1];
    for (int i = 0; i < twice.length; i++) {
      twice[i] = t[i < 2 ? i : i - 1];
    }
    return twice;
  }

  /** The first three steps as four calls each: at t, twice at t - δ, and at t - 2δ. */
  private static int[] withRungeKutta(int[] t, int delta) {
    // Falling: t₀, t₁ + δ, t₁, t₂ + δ, t₂, t₃ + δ, t₃
    int[] points = {t[0], t[1] + delta, t[1], t[2] + delta, t[2], t[3] + delta, t[3]};
    int[] all = new int[PRK_CALLS + t.length - 3];
    for (int i = 0; i < PRK_CALLS; i++) {
      all[i] = points[(i + 1) / 2];
    }
    System.arraycopy(t, 3, all, PRK_CALLS, t.length - 3);
    return all;
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    return new PseudoSteps(plan);
  }

  /** √(ᾱ_p/ᾱ_t) x - (ᾱ_p - ᾱ_t) e / (ᾱ_t √(1 - ᾱ_p) + √(ᾱ_t (1 - ᾱ_t) ᾱ_p)): formula 9. */
  private Tensor transfer(Tensor x, Tensor output, int t, int previous) {
    float last = config.flag("set_alpha_to_one") ? 1 : schedule.bar(0);
    float bar = schedule.bar(t);
    float barPrevious = previous >= 0 ? schedule.bar(previous) : last;
    Tensor e = prediction.epsilon(x, output, F32.sqrt(bar), F32.sqrt(1 - bar));
    float denominator = bar * F32.sqrt(1 - barPrevious) + F32.sqrt(bar * (1 - bar) * barPrevious);
    return x.mul(F32.sqrt(barPrevious / bar)).sub(e.mul((barPrevious - bar)).div(denominator));
  }

  private final class PseudoSteps implements Run {
    private final Plan plan;
    private final int stride;
    private final History outputs = new History(4);
    private final History origin = new History(1); // where a step of several calls started
    private final History sum = new History(1); // of the Runge-Kutta outputs, weighted

    PseudoSteps(Plan plan) {
      this.plan = plan;
      this.stride = schedule.steps() / plan.count();
    }

    @Override
    public Stepped step(Denoiser.Output output, Tensor x, int i) {
      Tensor said = output.onlyValue("PNDM");
      int t = (int) plan.time(i);
      float bar = schedule.bar(t);
      Tensor next = prk() && i < PRK_CALLS ? rungeKutta(said, x, t, i) : multistep(said, x, t, i);
      return new Stepped(next, () -> prediction.x0(x, said, F32.sqrt(bar), F32.sqrt(1 - bar)));
    }

    private Tensor rungeKutta(Tensor said, Tensor x, int t, int i) {
      int previous = i % 2 == 0 ? t - stride / 2 : t;
      int from = (int) plan.time(i / 4 * 4);
      @Nullable Tensor before = i % 4 == 0 ? null : sum.get(0);
      Tensor e = said;
      switch (i % 4) {
        case 0 -> {
          sum.push(said.mul(1.0 / 6));
          outputs.push(said);
          origin.push(x);
        }
        case 1, 2 -> sum.push(java.util.Objects.requireNonNull(before).add(said.mul(1.0 / 3)));
        default -> e = java.util.Objects.requireNonNull(before).add(said.mul(1.0 / 6));
      }
      return transfer(origin.get(0), e, from, previous);
    }

    private Tensor multistep(Tensor said, Tensor x, int t, int i) {
      int call = i - plan.begin();
      if (call == 1) {
        // Again from the first timestep to this one, with the mean of both outputs.
        Tensor e = said.add(outputs.get(0)).div(2);
        return transfer(origin.get(0), e, t + stride, t);
      }
      outputs.push(said);
      if (call == 0) {
        origin.push(x);
      }
      Tensor e =
          switch (outputs.size()) {
            case 1 -> said;
            case 2 -> said.mul(3).sub(outputs.get(1)).div(2);
            case 3 -> said.mul(23).sub(outputs.get(1).mul(16)).add(outputs.get(2).mul(5)).div(12);
            default ->
                said.mul(55)
                    .sub(outputs.get(1).mul(59))
                    .add(outputs.get(2).mul(37))
                    .sub(outputs.get(3).mul(9))
                    .mul(1.0 / 24);
          };
      return transfer(x, e, t, t - stride);
    }

    @Override
    public void close() {
      outputs.close();
      origin.close();
      sum.close();
    }
  }
}
