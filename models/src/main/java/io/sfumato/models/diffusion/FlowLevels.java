// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.List;

/**
 * Noise levels of rectified flows in solvers that also know diffusions ({@code use_flow_sigmas}).
 */
final class FlowLevels {
  private FlowLevels() {}

  static void check(SchedulerConfig.Reading c, boolean noisePredicting, List<String> wrong) {
    boolean flow = c.flag("use_flow_sigmas");
    if (c.is("prediction_type", "flow_prediction") && !flow) {
      wrong.add("prediction_type flow_prediction needs use_flow_sigmas");
    }
    if (c.is("prediction_type", "flow_prediction") && noisePredicting) {
      wrong.add("prediction_type flow_prediction needs a solver in x0, not in the noise");
    }
    if (flow) {
      SchedulerRules.positive(c, "flow_shift", wrong);
      if (c.flag("rescale_betas_zero_snr")) {
        wrong.add("rescale_betas_zero_snr speaks of betas, which use_flow_sigmas does without");
      }
    }
  }

  /** The factor that moves levels towards noise: {@code flow_shift}, or e^μ by resolution. */
  static double shift(SchedulerConfig c, Steps steps) {
    if (!c.flag("use_dynamic_shifting")) {
      return c.number("flow_shift");
    }
    Double mu = steps.shift();
    if (mu == null) {
      throw new IllegalArgumentException(
          "use_dynamic_shifting is on: the steps need a shift (Steps.shift)");
    }
    return c.is("time_shift_type", "exponential") ? Math.exp(mu) : mu;
  }

  /** σ T, cut to whole timesteps. */
  static double[] times(double[] sigmas, SchedulerConfig c) {
    double[] times = new double[sigmas.length];
    for (int i = 0; i < times.length; i++) {
      times[i] = (long) (sigmas[i] * c.trainTimesteps());
    }
    return times;
  }
}
