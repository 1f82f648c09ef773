// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.List;

/**
 * DPM-Solver (Lu et al., 2022) and DPM-Solver++ (Lu et al., 2023), multistep, of orders 1 to 3, as
 * differential equations without or with noise (diffusers scheduling_dpmsolver_multistep.py).
 */
public final class DpmSolver implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(1e-4, 0.02, "linear")
          .prediction("epsilon", "sample", "v_prediction", "flow_prediction")
          .integer("solver_order", 2)
          .thresholding()
          .text(
              "algorithm_type",
              "dpmsolver++",
              "dpmsolver",
              "dpmsolver++",
              "sde-dpmsolver",
              "sde-dpmsolver++",
              "deis")
          .text("solver_type", "midpoint", "midpoint", "heun", "logrho", "bh1", "bh2")
          .flag("lower_order_final", true)
          .flag("euler_at_final", false)
          .respacing()
          .flag("use_lu_lambdas", false)
          .flag("use_flow_sigmas", false)
          .number("flow_shift", 1)
          .text("final_sigmas_type", "zero", "zero", "sigma_min")
          .number("lambda_min_clipped", Double.NEGATIVE_INFINITY)
          .optionalText(
              "variance_type",
              "learned",
              "learned_range",
              "fixed_small", // the values of DDPM's that ask nothing of the network
              "fixed_small_log",
              "fixed_large",
              "fixed_large_log")
          .spacing("linspace")
          .flag("rescale_betas_zero_snr", false)
          .flag("use_dynamic_shifting", false)
          .text("time_shift_type", "exponential", "exponential");

  /** Below this many steps the last ones are of lower order. */
  private static final int FEW = 15;

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;
  private final X0Limit limit;
  private final int order;
  private final DpmFormulas formulas;

  DpmSolver(SchedulerConfig config) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
    this.limit = X0Limit.of(config).dynamicOnly();
    this.order = config.integer("solver_order");
    this.formulas =
        new DpmFormulas(
            !noisePredicting(config.text("algorithm_type")),
            config.text("algorithm_type").startsWith("sde-"),
            config.is("solver_type", "heun"));
    if (config.is("algorithm_type", "deis")) {
      IgnoredKeys.log(config, "this class takes it as dpmsolver++", "algorithm_type");
    }
    if (!config.is("solver_type", "heun")) {
      IgnoredKeys.log(config, "this class takes it as midpoint", "solver_type");
    }
    if (!config.flag("use_flow_sigmas")) {
      IgnoredKeys.log(config, "use_flow_sigmas is off", "flow_shift", "use_dynamic_shifting");
    }
  }

  private static boolean noisePredicting(String algorithm) {
    return algorithm.equals("dpmsolver") || algorithm.equals("sde-dpmsolver");
  }

  static void check(SchedulerConfig.Reading c, List<String> wrong) {
    int order = c.integer("solver_order");
    String algorithm = c.text("algorithm_type");
    if (order < 1 || order > 3) {
      wrong.add("solver_order must be 1, 2 or 3; got " + order);
    }
    if (order == 3 && algorithm.equals("sde-dpmsolver")) {
      wrong.add("solver_order 3 does not exist for sde-dpmsolver; use sde-dpmsolver++ or 2");
    }
    if (noisePredicting(algorithm) && c.is("final_sigmas_type", "zero")) {
      wrong.add(
          "algorithm_type "
              + algorithm
              + " divides by the final sigma: final_sigmas_type must be sigma_min");
    }
    SchedulerRules.atMostOne(
        c, wrong, "use_lu_lambdas", "use_karras_sigmas", "use_exponential_sigmas");
    SchedulerRules.atMostOne(c, wrong, "use_lu_lambdas", "use_beta_sigmas");
    FlowLevels.check(c, noisePredicting(algorithm), wrong);
    if (c.flag("use_flow_sigmas")) {
      SchedulerRules.atMostOne(
          c,
          wrong,
          "use_flow_sigmas",
          "use_karras_sigmas",
          "use_exponential_sigmas",
          "use_beta_sigmas",
          "use_lu_lambdas");
    }
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  @Override
  public Plan plan(Steps steps) {
    boolean flow = config.flag("use_flow_sigmas");
    steps.without("DPM-Solver", flow && config.flag("use_dynamic_shifting"), false);
    float[] training = schedule.sigmas(true);
    int n = steps.count();
    double[] times;
    double[] levels;
    if (flow) {
      levels = new double[n];
      double shift = FlowLevels.shift(config, steps);
      double end = 1.0 / config.trainTimesteps();
      for (int i = 0; i < n; i++) {
        int j = n - i;
        double alpha = j == n ? end : 1 + j * ((end - 1) / n);
        levels[i] = Sigmas.shift(1 - alpha, shift);
      }
      times = FlowLevels.times(levels, config);
    } else if (config.flag("use_lu_lambdas") || Sigmas.respaced(config)) {
      boolean lu = config.flag("use_lu_lambdas");
      levels =
          lu
              ? Sigmas.lu(training, n)
              : Sigmas.respace(config, training[training.length - 1], training[0], n);
      boolean rounds =
          (lu || config.flag("use_karras_sigmas"))
              && !config.is("beta_schedule", "squaredcos_cap_v2");
      times = Sigmas.timesteps(levels, training);
      for (int i = 0; i < n; i++) {
        times[i] = rounds ? Math.rint(times[i]) : (long) times[i];
      }
    } else {
      int[] whole = Spacing.withoutLast(config, n, visitable());
      times = java.util.Arrays.stream(whole).asDoubleStream().toArray();
      levels = Sigmas.at(times, training);
    }
    double last = config.is("final_sigmas_type", "sigma_min") ? training[0] : 0;
    Levels meaning = flow ? Levels.FLOW : Levels.VARIANCE_PRESERVING;
    return Plan.preserving(times, Sigmas.withFinal(levels, last), meaning, steps.first(), steps);
  }

  /** The number of timesteps whose λ is not below {@code lambda_min_clipped}. */
  private int visitable() {
    float least = (float) config.number("lambda_min_clipped");
    int count = 0;
    for (int t = 0; t < schedule.steps(); t++) {
      float bar = schedule.bar(t, true);
      if (F32.log(F32.sqrt(bar)) - F32.log(F32.sqrt(1 - bar)) >= least) {
        count++;
      }
    }
    if (count == 0) {
      throw new IllegalArgumentException("lambda_min_clipped leaves no timestep");
    }
    return count;
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    return new Multistep(plan, source);
  }

  private final class Multistep implements Run {
    private final Plan plan;
    private final NoiseSource source;
    private final History models = new History(3);
    private final Levels levels =
        config.flag("use_flow_sigmas") ? Levels.FLOW : Levels.VARIANCE_PRESERVING;

    Multistep(Plan plan, NoiseSource source) {
      this.plan = plan;
      this.source = source;
    }

    private int orderAt(int i) {
      int n = plan.calls();
      boolean few = config.flag("lower_order_final") && n < FEW;
      if (i == n - 1
          && (few || config.flag("euler_at_final") || config.is("final_sigmas_type", "zero"))) {
        return 1;
      }
      int available = Math.min(order, models.size());
      return i == n - 2 && few ? Math.min(available, 2) : available;
    }

    @Override
    public Stepped step(Denoiser.Output output, Tensor x, int i) {
      float alpha = levels.alpha(plan.sigma(i));
      float sigma = levels.sigma(plan.sigma(i));
      Tensor said =
          config.is("variance_type", "learned") || config.is("variance_type", "learned_range")
              ? output.value()
              : output.onlyValue("DPM-Solver without a learned variance_type");
      Tensor x0 = limit.apply(prediction.x0(x, said, alpha, sigma));
      if (formulas.data()) {
        models.push(x0);
      } else if (limit.dynamic()) {
        models.push(F32.quotient(x.sub(x0.mul(alpha)), sigma));
      } else {
        models.push(prediction.epsilon(x, said, alpha, sigma));
      }
      Tensor next = advance(x, i, orderAt(i));
      if (formulas.noisy()) {
        Tensor draw = source.next(x.spec());
        next = next.add(draw.mul(formulas.noise(at(i + 1), at(i))));
      }
      return new Stepped(next, () -> x0);
    }

    private DpmFormulas.At at(int i) {
      float level = plan.sigma(i);
      return new DpmFormulas.At(levels.alpha(level), levels.sigma(level), levels.lambda(level));
    }

    private Tensor advance(Tensor x, int i, int order) {
      DpmFormulas.At to = at(i + 1);
      DpmFormulas.At from = at(i);
      float[] c = formulas.coefficients(to, from, order);
      Tensor m0 = models.get(0);
      Tensor next = x.mul(c[0]).add(m0.mul(c[1]));
      if (order == 1) {
        return next;
      }
      float h = to.lambda() - from.lambda();
      float r0 = (from.lambda() - at(i - 1).lambda()) / h;
      Tensor d1 = m0.sub(models.get(1)).mul(1 / r0);
      if (order == 2) {
        return next.add(d1.mul(c[2]));
      }
      float r1 = (at(i - 1).lambda() - at(i - 2).lambda()) / h;
      Tensor older = models.get(1).sub(models.get(2)).mul(1 / r1);
      Tensor change = d1.sub(older);
      Tensor first = d1.add(change.mul(r0 / (r0 + r1)));
      Tensor second = change.mul(1 / (r0 + r1));
      return next.add(first.mul(c[2])).add(second.mul(c[3]));
    }

    @Override
    public void close() {
      models.close();
    }
  }
}
