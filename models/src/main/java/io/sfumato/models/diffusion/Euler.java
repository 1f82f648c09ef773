// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.List;

/**
 * Euler steps in σ (Karras et al., 2022, algorithm 2 without its correction; diffusers
 * scheduling_euler_discrete.py).
 */
public final class Euler implements Sampler {
  static final Keys KEYS =
      Keys.none()
          .betas(1e-4, 0.02, "linear")
          .prediction("epsilon", "sample", "v_prediction", "original_sample")
          .text("interpolation_type", "linear", "linear", "log_linear")
          .respacing()
          .optionalNumber("sigma_min")
          .optionalNumber("sigma_max")
          .spacing("linspace")
          .text("timestep_type", "discrete", "discrete", "continuous")
          .flag("rescale_betas_zero_snr", false)
          .text("final_sigmas_type", "zero", "zero", "sigma_min");

  /**
   * Fresh noise that a step adds before it goes down (Karras et al., 2022).
   *
   * @param amount S_churn, over the whole way
   * @param least S_tmin, the least σ at which it is added
   * @param most S_tmax, the most
   * @param noise S_noise, the standard deviation of the draws
   */
  public record Churn(double amount, double least, double most, double noise) {
    /** None. */
    public static final Churn NONE = new Churn(0, 0, Double.POSITIVE_INFINITY, 1);
  }

  private final SchedulerConfig config;
  private final NoiseSchedule schedule;
  private final Prediction prediction;
  private final Churn churn;

  Euler(SchedulerConfig config) {
    this(config, Churn.NONE);
  }

  private Euler(SchedulerConfig config, Churn churn) {
    this.config = config;
    this.schedule = new NoiseSchedule(config);
    this.prediction = config.prediction();
    this.churn = churn;
    if (!Sigmas.respaced(config)) {
      IgnoredKeys.log(config, "no respacing of sigmas is on", "sigma_min", "sigma_max");
    }
    if (prediction != Prediction.V_PREDICTION) {
      IgnoredKeys.log(config, "only v_prediction has continuous times", "timestep_type");
    }
  }

  static void check(SchedulerConfig.Reading c, List<String> wrong) {
    SigmaGrid.checkRange(c, wrong);
  }

  /** This sampler with fresh noise in its steps. */
  public Euler churn(Churn value) {
    return new Euler(config, value);
  }

  /** The Euler sampler of an {@code EulerDiscreteScheduler}. */
  public static Euler of(SchedulerConfig config) {
    return (Euler) Sampler.of(config);
  }

  @Override
  public SchedulerConfig config() {
    return config;
  }

  @Override
  public Plan plan(Steps steps) {
    steps.without("Euler", false, true);
    SigmaGrid grid = SigmaGrid.ofTimes(config, schedule, steps);
    double[] times = grid.times();
    if (config.is("timestep_type", "continuous") && prediction == Prediction.V_PREDICTION) {
      times = new double[grid.sigmas().length - 1];
      for (int i = 0; i < times.length; i++) {
        times[i] = 0.25f * F32.log(grid.sigmas()[i]);
      }
    }
    return Plan.exploding(times, grid.sigmas(), grid.initialSigma(config), steps.first(), steps);
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
        float sigma = plan.sigma(i);
        boolean churned = churn.least() <= sigma && sigma <= churn.most();
        double gamma =
            churned ? Math.min(churn.amount() / (plan.sigmaCount() - 1), Math.sqrt(2) - 1) : 0;
        float hat = sigma * (float) (gamma + 1);
        Tensor at = x;
        if (gamma > 0) {
          Tensor noise = source.next(x.spec()).mul(churn.noise());
          at = x.add(noise.mul(F32.sqrt(hat * hat - sigma * sigma)));
        }
        Tensor said = output.onlyValue("Euler");
        // ε is taken at the churned level and v at the level before, as in the reference.
        float level = prediction == Prediction.EPSILON ? hat : sigma;
        Tensor x0 = prediction.x0AtSigma(at, said, level);
        Tensor derivative = F32.quotient(at.sub(x0), hat);
        return new Stepped(at.add(derivative.mul(plan.sigma(i + 1) - hat)), () -> x0);
      }
    };
  }
}
