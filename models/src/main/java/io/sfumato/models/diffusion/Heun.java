// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;

/**
 * Heun's second-order steps in σ (Karras et al., 2022, algorithm 1; diffusers
 * scheduling_heun_discrete.py): two calls a step, one in the last.
 */
public final class Heun implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(0.00085, 0.012, "linear")
          .prediction("epsilon", "sample", "v_prediction")
          .respacing()
          .clip(false)
          .spacing("linspace");

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;
  private final X0Limit limit;

  Heun(SchedulerConfig config) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
    this.limit = X0Limit.of(config);
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  @Override
  public Plan plan(Steps steps) {
    steps.without("Heun", false, true);
    SigmaGrid grid = SigmaGrid.ofTimes(config, schedule, steps);
    int n = grid.times().length;
    double[] times = new double[2 * n - 1];
    float[] sigmas = new float[2 * n];
    for (int i = 0; i < times.length; i++) {
      times[i] = grid.times()[(i + 1) / 2];
    }
    for (int i = 0; i < sigmas.length; i++) {
      sigmas[i] = grid.sigmas()[(i + 1) / 2];
    }
    return Plan.exploding(times, sigmas, grid.initialSigma(config), 2 * steps.first(), steps);
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    return new Run() {
      private final History origin = new History(1);
      private final History slope = new History(1);

      @Override
      public Tensor input(Tensor x, int i) {
        return SigmaGrid.scaled(x, plan.sigma(i));
      }

      @Override
      public Stepped step(Denoiser.Output output, Tensor x, int i) {
        boolean first = (i - plan.begin()) % 2 == 0;
        float level = plan.sigma(i);
        Tensor x0 = limit.apply(prediction.x0AtSigma(x, output.onlyValue("Heun"), level));
        Tensor derivative = F32.quotient(x.sub(x0), level);
        if (first) {
          origin.push(x);
          slope.push(derivative);
          return new Stepped(x.add(derivative.mul(plan.sigma(i + 1) - level)), () -> x0);
        }
        Tensor mean = slope.get(0).add(derivative).div(2);
        float back = plan.sigma(i - 1);
        return new Stepped(origin.get(0).add(mean.mul(level - back)), () -> x0);
      }

      @Override
      public void close() {
        origin.close();
        slope.close();
      }
    };
  }
}
