// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The unified predictor-corrector (Zhao et al., 2023; diffusers scheduling_unipc_multistep.py): a
 * multistep predictor, and a corrector that uses the next call's output for the step before it.
 */
public final class UniPc implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(1e-4, 0.02, "linear")
          .integer("solver_order", 2)
          .prediction("epsilon", "sample", "v_prediction", "flow_prediction")
          .thresholding()
          .flag("predict_x0", true)
          .text("solver_type", "bh2", "bh1", "bh2", "midpoint", "heun", "logrho")
          .flag("lower_order_final", true)
          .integers("disable_corrector")
          .optionalObject("solver_p")
          .respacing()
          .flag("use_flow_sigmas", false)
          .number("flow_shift", 1)
          .spacing("linspace")
          .text("final_sigmas_type", "zero", "zero", "sigma_min")
          .flag("rescale_betas_zero_snr", false)
          .flag("use_dynamic_shifting", false)
          .text("time_shift_type", "exponential", "exponential", "linear")
          .optionalNumber("sigma_min")
          .optionalNumber("sigma_max")
          .optionalNumber("shift_terminal");

  /** How far the first level of a flow stays from 1, where ln α would be infinite. */
  private static final double FROM_ONE = 1e-6;

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;
  private final X0Limit limit;
  private final boolean data;
  private final @Nullable Sampler predictor;

  UniPc(SchedulerConfig config) {
    this(config, ofConfig(config));
  }

  private UniPc(SchedulerConfig config, @Nullable Sampler predictor) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
    this.data = config.flag("predict_x0");
    this.limit = X0Limit.of(config).dynamicOnly();
    this.predictor = predictor;
    if (!config.is("solver_type", "bh1")) {
      IgnoredKeys.log(config, "this class takes it as bh2", "solver_type");
    }
    if (!data) {
      IgnoredKeys.log(config, "predict_x0 is off", "thresholding");
    }
    if (!config.flag("use_flow_sigmas")) {
      IgnoredKeys.log(config, "use_flow_sigmas is off", "flow_shift", "use_dynamic_shifting");
    }
    if (!Sigmas.respaced(config)) {
      IgnoredKeys.log(config, "no respacing of sigmas is on", "sigma_min", "sigma_max");
    }
  }

  private static @Nullable Sampler ofConfig(SchedulerConfig config) {
    Object given = config.values().get("solver_p");
    if (!(given instanceof Map<?, ?> map)) {
      return null;
    }
    TreeMap<String, @Nullable Object> values = new TreeMap<>();
    map.forEach((k, v) -> values.put(String.valueOf(k), v));
    Object name = values.remove("_class_name");
    return Sampler.of(new SchedulerConfig(String.valueOf(name), values));
  }

  static void check(SchedulerConfig.Reading c, List<String> wrong) {
    int order = c.integer("solver_order");
    boolean zero = c.is("final_sigmas_type", "zero");
    if (order < 1) {
      wrong.add("solver_order must be positive; got " + order);
    }
    if (zero && c.is("solver_type", "bh1")) {
      wrong.add(
          "solver_type bh1 multiplies by an infinite step if final_sigmas_type is zero: use bh2 or"
              + " sigma_min");
    }
    if (zero && !c.flag("predict_x0")) {
      wrong.add("predict_x0 false divides by the final sigma: final_sigmas_type must be sigma_min");
    }
    if (zero && order > 1 && !c.flag("lower_order_final")) {
      wrong.add(
          "lower_order_final false divides by an infinite step if final_sigmas_type is zero: use"
              + " sigma_min");
    }
    FlowLevels.check(c, !c.flag("predict_x0"), wrong);
    SigmaGrid.checkRange(c, wrong);
    if (c.flag("use_flow_sigmas")) {
      SchedulerRules.atMostOne(
          c, wrong, "use_flow_sigmas", "use_exponential_sigmas", "use_beta_sigmas");
    } else if (c.optionalNumber("shift_terminal") != null) {
      wrong.add("shift_terminal needs use_flow_sigmas");
    }
  }

  /** This sampler with another one's steps as predictor ({@code solver_p}). */
  public UniPc predictor(Sampler other) {
    return new UniPc(config, other);
  }

  /** The UniPC sampler of a {@code UniPCMultistepScheduler}. */
  public static UniPc of(SchedulerConfig config) {
    return (UniPc) Sampler.of(config);
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  private Levels levels() {
    return config.flag("use_flow_sigmas") ? Levels.FLOW : Levels.VARIANCE_PRESERVING;
  }

  @Override
  public Plan plan(Steps steps) {
    boolean flow = config.flag("use_flow_sigmas");
    boolean respaced = Sigmas.respaced(config);
    boolean pureFlow = flow && !respaced;
    steps.without("UniPC", pureFlow && config.flag("use_dynamic_shifting"), pureFlow);
    float[] training = schedule.sigmas(true);
    int n = steps.count();
    double[] levels;
    double[] times;
    double last;
    if (respaced) {
      levels = Sigmas.respace(config, training[training.length - 1], training[0], n);
      if (flow) {
        for (int i = 0; i < n; i++) {
          levels[i] = levels[i] / (levels[i] + 1);
        }
        times = FlowLevels.times(levels, config);
      } else {
        times = Sigmas.timesteps(levels, training);
        boolean rounds = config.flag("use_karras_sigmas");
        for (int i = 0; i < n; i++) {
          times[i] = rounds ? Math.rint(times[i]) : (long) times[i];
        }
      }
      last = levels[n - 1];
    } else if (flow) {
      levels = flowLevels(steps);
      times = FlowLevels.times(levels, config);
      last = levels[n - 1];
    } else {
      int[] whole = Spacing.withoutLast(config, n, config.trainTimesteps());
      times = java.util.Arrays.stream(whole).asDoubleStream().toArray();
      levels = Sigmas.at(times, training);
      last = training[0];
    }
    float[] all = Sigmas.withFinal(levels, config.is("final_sigmas_type", "sigma_min") ? last : 0);
    return Plan.preserving(times, all, levels(), steps.first(), steps);
  }

  private double[] flowLevels(Steps steps) {
    int n = steps.count();
    double[] levels = new double[n];
    List<Double> given = steps.sigmas();
    double end = 1.0 / config.trainTimesteps();
    double shift = FlowLevels.shift(config, steps);
    for (int i = 0; i < n; i++) {
      double even = given != null ? given.get(i) : 1 + i * ((end - 1) / n);
      levels[i] = Sigmas.shift(even, shift);
    }
    Double terminal = config.optionalNumber("shift_terminal");
    if (terminal != null && terminal != 0) {
      Sigmas.stretch(levels, terminal);
    }
    if (Math.abs(levels[0] - 1) < FROM_ONE) {
      levels[0] -= FROM_ONE;
    }
    return levels;
  }

  @Override
  public Run start(Plan plan, NoiseSource source) {
    return new PredictCorrect(plan, source);
  }

  private final class PredictCorrect implements Run {
    private final Plan plan;
    private final int order = config.integer("solver_order");
    private final List<?> uncorrected;
    private final Levels levels = levels();
    private final History models = new History(order + 1); // of x₀ or ε
    private final History before = new History(1); // the corrected sample of the last call
    private final @Nullable Run predictorRun;
    private int lastOrder;

    PredictCorrect(Plan plan, NoiseSource source) {
      this.plan = plan;
      List<?> list = config.list("disable_corrector");
      this.uncorrected = list == null ? List.of() : list;
      this.predictorRun =
          predictor == null
              ? null
              : predictor.start(predictor.plan(Steps.of(plan.count())), source);
    }

    @Override
    public Stepped step(Denoiser.Output output, Tensor x, int i) {
      float alpha = levels.alpha(plan.sigma(i));
      float sigma = levels.sigma(plan.sigma(i));
      Tensor said = output.onlyValue("UniPC");
      Tensor x0 = prediction.x0(x, said, alpha, sigma);
      Tensor model = data ? limit.apply(x0) : prediction.epsilon(x, said, alpha, sigma);
      Tensor sample = x;
      if (i > plan.begin() && !uncorrected.contains(i - 1)) {
        sample = update(before.get(0), i - 1, lastOrder, model);
      }
      models.push(model);
      int left = config.flag("lower_order_final") ? plan.calls() - i : order;
      lastOrder = Math.min(Math.min(order, left), Math.min(models.size(), i - plan.begin() + 1));
      before.push(sample);
      Tensor next =
          predictorRun == null
              ? update(sample, i, lastOrder, null)
              : predictorRun.step(output, sample, i).next();
      return new Stepped(next, () -> data ? model : x0);
    }

    private float lambda(int i) {
      return levels.lambda(plan.sigma(i));
    }

    /**
     * The step from call {@code i} to the next level; with the model's output there it is the
     * corrector, without it the predictor.
     */
    private Tensor update(Tensor x, int i, int order, @Nullable Tensor nextModel) {
      Tensor m0 = models.get(0);
      float h = lambda(i + 1) - lambda(i);
      float hh = data ? -h : h;
      float[] r = new float[order];
      Tensor[] differences = new Tensor[order];
      for (int k = 1; k < order; k++) {
        r[k - 1] = (lambda(i - k) - lambda(i)) / h;
        differences[k - 1] = models.get(k).sub(m0).div(r[k - 1]);
      }
      r[order - 1] = 1;
      int used = order - 1;
      if (nextModel != null) {
        differences[order - 1] = nextModel.sub(m0);
        used = order;
      }
      float phi = F32.expm1(hh);
      float b = config.is("solver_type", "bh1") ? hh : phi;
      float[] rho = UniPcWeights.of(r, used, hh, b);
      float to = plan.sigma(i + 1);
      float from = plan.sigma(i);
      float ratio =
          data ? levels.sigma(to) / levels.sigma(from) : levels.alpha(to) / levels.alpha(from);
      float scale = data ? levels.alpha(to) : levels.sigma(to);
      Tensor next = x.mul(ratio).sub(m0.mul(scale * phi));
      for (int k = 0; k < used; k++) {
        next = next.sub(differences[k].mul(rho[k]).mul(scale * b));
      }
      return next;
    }

    @Override
    public void close() {
      models.close();
      before.close();
      if (predictorRun != null) {
        predictorRun.close();
      }
    }
  }
}
