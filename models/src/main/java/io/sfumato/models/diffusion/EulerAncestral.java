// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;

/**
 * Euler steps that go further down and add fresh noise (k-diffusion; diffusers
 * scheduling_euler_ancestral_discrete.py).
 */
public final class EulerAncestral implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(1e-4, 0.02, "linear")
          .prediction("epsilon", "v_prediction")
          .spacing("linspace")
          .flag("rescale_betas_zero_snr", false);

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;

  EulerAncestral(SchedulerConfig config) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  @Override
  public Plan plan(Steps steps) {
    steps.without("ancestral Euler", false, true);
    SigmaGrid grid = SigmaGrid.ofTimes(config, schedule, steps);
    return Plan.exploding(
        grid.times(), grid.sigmas(), grid.initialSigma(config), steps.first(), steps);
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    return new Run() {
      @Override
      public Tensor input(Tensor x, int i) {
        return SigmaGrid.scaled(x, plan.sigma(i));
      }

      @Override
      public Stepped step(Denoiser.Output output, Tensor x, int i) {
        float from = plan.sigma(i);
        float to = plan.sigma(i + 1);
        float square = to * to;
        float up = F32.sqrt(square * (from * from - square) / (from * from));
        float down = F32.sqrt(Math.max(square - up * up, 0));
        Tensor x0 = prediction.x0AtSigma(x, output.onlyValue("ancestral Euler"), from);
        Tensor derivative = F32.quotient(x.sub(x0), from);
        Tensor lower = x.add(derivative.mul(down - from));
        return new Stepped(lower.add(source.next(x.spec()).mul(up)), () -> x0);
      }
    };
  }
}
