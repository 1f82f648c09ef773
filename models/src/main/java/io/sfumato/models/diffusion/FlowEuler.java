// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.List;

/**
 * Euler steps along a rectified flow, x += (σ' - σ) v (Esser et al., 2024; diffusers
 * scheduling_flow_match_euler_discrete.py).
 */
public final class FlowEuler implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .integer("num_train_timesteps", 1000)
          .number("shift", 1)
          .flag("use_dynamic_shifting", false)
          .number("base_shift", 0.5)
          .number("max_shift", 1.15)
          .integer("base_image_seq_len", 256)
          .integer("max_image_seq_len", 4096)
          .flag("invert_sigmas", false)
          .optionalNumber("shift_terminal")
          .respacing()
          .text("time_shift_type", "exponential", "exponential", "linear")
          .flag("stochastic_sampling", false);

  private final SchedulerConfig config;

  FlowEuler(SchedulerConfig config) {
    this.config = config;
    if (config.flag("use_dynamic_shifting")) {
      IgnoredKeys.log(config, "the shift follows the resolution", "shift");
    } else {
      IgnoredKeys.log(
          config,
          "use_dynamic_shifting is off",
          "base_shift",
          "max_shift",
          "base_image_seq_len",
          "max_image_seq_len",
          "time_shift_type");
    }
  }

  static void check(SchedulerConfig.Reading c, List<String> wrong) {
    SchedulerRules.positive(c, "shift", wrong);
    Double terminal = c.optionalNumber("shift_terminal");
    if (terminal != null && !(terminal >= 0 && terminal < 1)) {
      wrong.add("shift_terminal must be in [0, 1); got " + terminal);
    }
    if (c.integer("base_image_seq_len") >= c.integer("max_image_seq_len")) {
      wrong.add("base_image_seq_len must be below max_image_seq_len");
    }
    if (c.flag("invert_sigmas") && c.flag("stochastic_sampling")) {
      wrong.add("stochastic_sampling ends at noise if invert_sigmas is on");
    }
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  /**
   * The shift μ of an image of so many tokens: linear between {@code base_shift} and {@code
   * max_shift} (diffusers' calculate_shift), for {@link Steps#shift(double)}.
   */
  public static double shiftOf(SchedulerConfig config, int tokens) {
    double base = config.number("base_shift");
    int least = config.integer("base_image_seq_len");
    double slope =
        (config.number("max_shift") - base) / (config.integer("max_image_seq_len") - least);
    return tokens * slope + (base - slope * least);
  }

  @Override
  public Plan plan(Steps steps) {
    boolean dynamic = config.flag("use_dynamic_shifting");
    steps.without("FlowMatchEuler", dynamic, true);
    Double mu = steps.shift();
    if (dynamic && mu == null) {
      throw new IllegalArgumentException(
          "use_dynamic_shifting is on: the steps need a shift, as FlowEuler.shiftOf gives");
    }
    int n = steps.count();
    double[] sigmas = evenly(steps);
    for (int i = 0; i < n; i++) {
      sigmas[i] =
          mu != null
              ? Sigmas.shiftBy(config, mu, sigmas[i])
              : Sigmas.shift(sigmas[i], config.number("shift"));
    }
    Double terminal = config.optionalNumber("shift_terminal");
    if (terminal != null && terminal != 0) {
      Sigmas.stretch(sigmas, terminal);
    }
    if (Sigmas.respaced(config)) {
      sigmas = Sigmas.respace(config, sigmas[0], sigmas[n - 1], n);
    }
    boolean inverted = config.flag("invert_sigmas");
    float[] levels = Sigmas.withFinal(sigmas, inverted ? 1 : 0);
    double[] times = new double[n];
    for (int i = 0; i < n; i++) {
      levels[i] = inverted ? 1 - levels[i] : levels[i];
      times[i] = levels[i] * config.trainTimesteps();
    }
    return Plan.preserving(times, levels, Levels.FLOW, steps.firstOfFlow(), steps);
  }

  /** Levels before any shift at sampling: from the most to the least of training, or given ones. */
  private double[] evenly(Steps steps) {
    List<Double> given = steps.sigmas();
    if (given != null) {
      return given.stream().mapToDouble(Double::floatValue).toArray();
    }
    int total = config.trainTimesteps();
    int n = steps.count();
    double most = trained(total, total) * total;
    double least = trained(1, total) * total;
    double[] sigmas = new double[n];
    for (int i = 0; i < n; i++) {
      double t =
          n > 1 && i == n - 1 ? least : n == 1 ? most : i * ((least - most) / (n - 1)) + most;
      sigmas[i] = t / total;
    }
    return sigmas;
  }

  /** The training level of timestep t in 32 bits, which already has the fixed shift. */
  private double trained(int t, int total) {
    float sigma = (float) t / total;
    if (config.flag("use_dynamic_shifting")) {
      return sigma;
    }
    float shift = (float) config.number("shift");
    return shift * sigma / (1 + (float) (config.number("shift") - 1) * sigma);
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    boolean stochastic = config.flag("stochastic_sampling");
    return (output, x, i) -> {
      Tensor v = output.onlyValue("FlowMatchEuler");
      float sigma = plan.sigma(i);
      float next = plan.sigma(i + 1);
      if (stochastic) {
        Tensor x0 = x.sub(v.mul(sigma));
        Tensor noise = source.next(x.spec());
        return new Run.Stepped(x0.mul(1 - next).add(noise.mul(next)), () -> x0);
      }
      return new Run.Stepped(x.add(v.mul(next - sigma)), () -> x.sub(v.mul(sigma)));
    };
  }
}
