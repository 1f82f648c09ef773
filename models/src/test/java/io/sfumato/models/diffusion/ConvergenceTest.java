// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Samplers on data that is normal with mean m and standard deviation c, where the best network and
 * the solution are known: at x = α x₀ + σ ε the marginal has variance V = α² c² + σ², and the
 * probability flow keeps (x - α m)/√V.
 */
class ConvergenceTest {
  private static final double MEAN = 0.4;
  private static final double DEVIATION = 0.6;
  private static final double START = 1.3;

  /** √V at the marginal of α and σ. */
  private static double spread(double alpha, double sigma) {
    return Math.hypot(alpha * DEVIATION, sigma);
  }

  /** α and σ at a time of a sampler's schedule. */
  private static double[] marginal(SchedulerConfig config, double time) {
    if (config.prediction() == Prediction.FLOW) {
      double sigma = time / config.trainTimesteps();
      return new double[] {1 - sigma, sigma};
    }
    double level = Sigmas.at(new double[] {time}, new NoiseSchedule(config).sigmas(true))[0];
    double alpha = 1 / Math.sqrt(level * level + 1);
    return new double[] {alpha, level * alpha};
  }

  /** The best prediction of the configured kind for z = α x₀ + σ ε. */
  private static Network best(SchedulerConfig config) {
    return (z, t, y) -> {
      double[] m = marginal(config, t[0]);
      double v = spread(m[0], m[1]);
      Tensor centred = z.sub(m[0] * MEAN);
      Tensor epsilon = centred.mul(m[1] / (v * v));
      Tensor x0 = centred.mul(m[0] * DEVIATION * DEVIATION / (v * v)).add(MEAN);
      return switch (config.prediction()) {
        case EPSILON -> epsilon;
        case SAMPLE -> x0;
        case V_PREDICTION -> epsilon.mul(m[0]).sub(x0.mul(m[1]));
        case FLOW -> epsilon.sub(x0);
      };
    };
  }

  /** How far the sampler is from the solution when it has come to a time. */
  private static double error(Sampler sampler, int n, double end) {
    SchedulerConfig config = sampler.config();
    Steps steps = Steps.of(n);
    Plan plan = sampler.plan(steps);
    boolean exploding = plan.initialSigma() != 1;
    int callsOfStep = sampler instanceof Heun ? 2 : 1;
    double[] from = marginal(config, plan.time(0));
    double[] to = marginal(config, end);
    try (Scope scope = Scope.open()) {
      double first = from[0] * MEAN + spread(from[0], from[1]) * START;
      double start = exploding ? first / from[0] : first;
      Tensor x = Tensor.of(new double[] {start}, DType.F64, Device.CPU, 1, 1, 1, 1);
      boolean[] arrived = {false};
      Tensor there =
          sampler.sample(
              new Denoiser(best(config), new NoiseSchedule(config)),
              x,
              steps,
              NoiseSources.none(),
              p -> {
                boolean whole = p.step() % callsOfStep == 0;
                arrived[0] = whole && p.step() < p.of() && plan.time(p.step()) == end;
                return !arrived[0];
              });
      assertTrue(arrived[0], "no call at time " + end);
      double exact = to[0] * MEAN + spread(to[0], to[1]) * START;
      return Math.abs(there.item() - (exploding ? exact / to[0] : exact));
    }
  }

  /** PNDM's order is 2, to which it comes slowly: 1.6 from 25 to 100 steps, 1.7 from 50 to 250. */
  @ParameterizedTest(name = "{0}: {1}")
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          DDIMScheduler                   | timestep_spacing=linspace set_alpha_to_one=false | 1
          EulerDiscreteScheduler          | timestep_spacing=linspace | 1
          EulerDiscreteScheduler          | prediction_type=v_prediction | 1
          HeunDiscreteScheduler           | timestep_spacing=linspace | 2
          HeunDiscreteScheduler           | prediction_type=sample | 2
          PNDMScheduler                   | timestep_spacing=leading skip_prk_steps=true | 1.8
          PNDMScheduler                   | timestep_spacing=leading | 1.8
          DPMSolverMultistepScheduler     | solver_order=1 | 1
          DPMSolverMultistepScheduler     | solver_order=2 | 2
          DPMSolverMultistepScheduler     | solver_order=2 solver_type=heun | 2
          DPMSolverMultistepScheduler     | solver_order=3 | 2
          DPMSolverMultistepScheduler     | algorithm_type=dpmsolver solver_order=1 | 1
          DPMSolverMultistepScheduler     | algorithm_type=dpmsolver solver_order=2 | 2
          DPMSolverMultistepScheduler     | algorithm_type=dpmsolver solver_order=2 solver_type=heun | 2
          DPMSolverMultistepScheduler     | algorithm_type=dpmsolver solver_order=3 prediction_type=v_prediction | 2
          UniPCMultistepScheduler         | solver_order=1 | 2
          UniPCMultistepScheduler         | solver_order=2 | 2
          UniPCMultistepScheduler         | solver_order=2 solver_type=bh1 | 2
          UniPCMultistepScheduler         | solver_order=3 | 2
          UniPCMultistepScheduler         | solver_order=2 predict_x0=false | 2
          UniPCMultistepScheduler         | solver_order=3 prediction_type=sample | 2
          FlowMatchEulerDiscreteScheduler | shift=1 | 1
          """)
  void theErrorFallsWithTheOrder(String type, String keys, double order) {
    SchedulerConfig config = SchedulerConfig.of(type);
    if (config.has("beta_start")) {
      config = config.with("beta_start", 0.001).with("beta_end", 0.02);
    }
    if (config.has("clip_sample")) {
      config = config.with("clip_sample", false);
    }
    boolean solver = config.has("lower_order_final");
    if (solver) {
      config = config.with("final_sigmas_type", "sigma_min").with("lower_order_final", false);
    }
    for (String pair : keys.split(" ")) {
      String[] kv = pair.split("=");
      Object value =
          kv[1].matches("[0-9]+")
              ? Integer.valueOf(kv[1])
              : kv[1].matches("true|false") ? Boolean.valueOf(kv[1]) : kv[1];
      config = config.with(kv[0], value);
    }
    Sampler sampler = Sampler.of(config);
    if (sampler instanceof Ddim ddim) {
      sampler = ddim.exactSteps(true);
    }
    // Steps of 37 and 9 timesteps, or 20 and 4, so that both come to the same time.
    boolean leading = config.is("timestep_spacing", "leading");
    boolean flow = config.prediction() == Prediction.FLOW;
    int more = solver ? 0 : 1;
    double end = leading ? 200 : 333;
    double coarse;
    double fine;
    if (flow) {
      coarse = flowError(sampler, 25);
      fine = flowError(sampler, 100);
    } else {
      coarse = error(sampler, leading ? 50 : 27 + more, end);
      fine = error(sampler, leading ? 250 : 111 + more, end);
    }
    double ratio = leading ? 5 : flow ? 4 : 37.0 / 9;
    assertTrue(
        fine < coarse / Math.pow(ratio, order) * 1.25,
        type + " " + keys + ": error " + coarse + " with long steps, " + fine + " with short");
    assertTrue(coarse > 1e-6 && coarse < 0.05, "the coarse error is " + coarse);
  }

  private static double flowError(Sampler sampler, int n) {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.of(new double[] {START}, DType.F64, Device.CPU, 1, 1, 1, 1);
      Denoiser denoiser = new Denoiser(best(sampler.config()), new NoiseSchedule(sampler.config()));
      Tensor end = sampler.sample(denoiser, x, Steps.of(n), NoiseSources.none(), Listener.NONE);
      return Math.abs(end.item() - (MEAN + DEVIATION * START));
    }
  }

  @Test
  void higherOrdersAreCloser() {
    for (String type : new String[] {"DPMSolverMultistepScheduler", "UniPCMultistepScheduler"}) {
      SchedulerConfig config =
          SchedulerConfig.of(type)
              .with("final_sigmas_type", "sigma_min")
              .with("lower_order_final", false);
      double before = Double.POSITIVE_INFINITY;
      for (int order = 1; order <= 3; order++) {
        double error = error(Sampler.of(config.with("solver_order", order)), 111, 333);
        assertTrue(error < before, type + " of order " + order + ": " + error);
        before = error;
      }
    }
  }

  @ParameterizedTest(name = "{0} {1}")
  @CsvSource({
    "DDPMScheduler, fixed_small",
    "DDPMScheduler, fixed_large",
    "DDIMScheduler, eta",
    "EulerDiscreteScheduler, churn",
    "EulerAncestralDiscreteScheduler, none",
    "DPMSolverMultistepScheduler, sde-dpmsolver++",
    "DPMSolverMultistepScheduler, sde-dpmsolver"
  })
  void noisySamplersReachTheDistribution(String type, String option) {
    SchedulerConfig config = SchedulerConfig.of(type);
    if (config.has("clip_sample")) {
      config = config.with("clip_sample", false);
    }
    if (type.equals("DDPMScheduler")) {
      config = config.with("variance_type", option);
    }
    if (option.startsWith("sde")) {
      config = config.with("final_sigmas_type", "sigma_min").with("algorithm_type", option);
    }
    Sampler sampler = Sampler.of(config);
    if (option.equals("eta")) {
      sampler = ((Ddim) sampler).eta(1).exactSteps(true);
    }
    if (option.equals("churn")) {
      sampler = ((Euler) sampler).churn(new Euler.Churn(20, 0.05, Double.POSITIVE_INFINITY, 1));
    }
    int n = 250;
    try (Scope scope = Scope.open()) {
      Steps steps = Steps.of(n);
      Tensor start = sampler.plan(steps).start(Rng.seed(1).normal(1, 1, 200, 200));
      Tensor end =
          sampler.sample(
              new Denoiser(best(config), new NoiseSchedule(config)),
              start,
              steps,
              NoiseSource.of(Rng.seed(2)),
              Listener.NONE);
      double mean = Num.mean(end).item();
      double deviation = Num.std(end, 1, false, 0, 1, 2, 3).item();
      assertEquals(MEAN, mean, 0.03, "mean");
      assertEquals(DEVIATION, deviation, 0.03, "deviation");
    }
  }
}
