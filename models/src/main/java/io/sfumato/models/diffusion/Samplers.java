// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Samplers: functions from noise to samples that call a {@link Denoiser} step by step. Each
 * reproduces the trajectory of the reference scheduler of diffusers for the same configuration.
 */
public final class Samplers {
  private Samplers() {}

  /** Sees every step. */
  @FunctionalInterface
  public interface Listener {
    /** Does nothing. */
    Listener NONE = (step, of, x) -> {};

    /**
     * A step is done.
     *
     * @param step its number, from 1
     * @param of the number of steps
     * @param x the sample after it; valid during this call
     */
    void step(int step, int of, Tensor x);
  }

  /**
   * Ancestral sampling (Ho et al., 2020; diffusers scheduling_ddpm.py).
   *
   * @param denoiser the network and its schedule
   * @param noise the starting point, standard normal [B, C, ...]
   * @param condition labels or another conditioning; null if there is none
   * @param steps the number of network calls
   * @param source draws the noise that is added, at every step but the one at t = 0
   * @param listener told after each step
   * @return the samples, in the current scope
   */
  public static Tensor ddpm(
      Denoiser denoiser,
      Tensor noise,
      @Nullable Tensor condition,
      int steps,
      NoiseSource source,
      Listener listener) {
    NoiseSchedule schedule = denoiser.schedule();
    int[] times = schedule.timesteps(steps);
    return loop(
        noise,
        steps,
        listener,
        (x, i) -> {
          int t = times[i];
          int previous = i + 1 < times.length ? times[i + 1] : -1;
          double bar = schedule.alphaBar(t);
          double barPrevious = schedule.alphaBar(previous);
          double alpha = bar / barPrevious;
          double beta = 1 - alpha;
          Denoiser.Estimate e = denoiser.estimate(x, t, condition);
          double ofX0 = Math.sqrt(barPrevious) * beta / (1 - bar);
          double ofX = Math.sqrt(alpha) * (1 - barPrevious) / (1 - bar);
          Tensor mean = e.x0().mul(ofX0).add(x.mul(ofX));
          if (t == 0) {
            return mean;
          }
          double small = Math.max((1 - barPrevious) / (1 - bar) * beta, 1e-20);
          Tensor draw = source.next(x.spec());
          return mean.add(deviation(schedule.config(), small, beta, e.variance(), draw));
        });
  }

  /** The noise of a DDPM step, scaled by the standard deviation that the configuration asks for. */
  private static Tensor deviation(
      SchedulerConfig config, double small, double beta, @Nullable Tensor learned, Tensor draw) {
    String type = config.varianceType();
    boolean wantsLearned = type.startsWith("learned");
    if (wantsLearned != (learned != null)) {
      throw new IllegalArgumentException(
          "variance_type "
              + type
              + (wantsLearned ? " needs" : " does not fit")
              + " a network with twice the channels of its input");
    }
    if (learned == null) {
      return draw.mul(Math.sqrt(type.equals("fixed_large") ? beta : small));
    }
    if (type.equals("learned")) {
      return draw.mul(learned.sqrt());
    }
    // learned_range: a fraction between the two logarithms
    double high = Math.log(beta);
    double low = Math.log(small);
    Tensor fraction = learned.add(1).div(2);
    return draw.mul(fraction.mul(high - low).add(low).mul(0.5).exp());
  }

  /**
   * How {@link #ddim} steps.
   *
   * @param eta 0 for the deterministic sampler, 1 for the variance of DDPM
   * @param clippedEpsilon whether ε is taken again from the limited x₀ ({@code
   *     use_clipped_model_output}); wanted where guidance drives x₀ out of its range
   * @param exactSteps whether a step leads to the next entry of the list. The reference leads to t
   *     - T/n by integer division, which differs unless n divides T
   */
  public record DdimOptions(double eta, boolean clippedEpsilon, boolean exactSteps) {
    /** What the reference does by default. */
    public static final DdimOptions REFERENCE = new DdimOptions(0, false, false);

    /** Deterministic steps that suit guided models: ε from the limited x₀, exact steps. */
    public static final DdimOptions GUIDED = new DdimOptions(0, true, true);

    /** These options with another eta. */
    public DdimOptions eta(double value) {
      return new DdimOptions(value, clippedEpsilon, exactSteps);
    }
  }

  /**
   * DDIM (Song et al., 2021; diffusers scheduling_ddim.py).
   *
   * @param denoiser the network and its schedule
   * @param noise the starting point, standard normal [B, C, ...]
   * @param condition labels or another conditioning; null if there is none
   * @param steps the number of network calls
   * @param options how to step
   * @param source draws the noise that is added if eta is positive
   * @param listener told after each step
   * @return the samples, in the current scope
   */
  public static Tensor ddim(
      Denoiser denoiser,
      Tensor noise,
      @Nullable Tensor condition,
      int steps,
      DdimOptions options,
      NoiseSource source,
      Listener listener) {
    NoiseSchedule schedule = denoiser.schedule();
    int[] times = schedule.timesteps(steps);
    int stride = schedule.steps() / steps;
    double last = schedule.config().setAlphaToOne() ? 1 : schedule.alphaBar(0);
    return loop(
        noise,
        steps,
        listener,
        (x, i) -> {
          int t = times[i];
          int listed = i + 1 < steps ? times[i + 1] : -1;
          int previous = options.exactSteps ? listed : t - stride;
          double bar = schedule.alphaBar(t);
          double barPrevious = previous >= 0 ? schedule.alphaBar(previous) : last;
          Denoiser.Estimate e = denoiser.estimate(x, t, condition);
          Tensor epsilon =
              options.clippedEpsilon
                  ? x.sub(e.x0().mul(Math.sqrt(bar))).div(Math.sqrt(1 - bar))
                  : e.epsilon();
          double variance = (1 - barPrevious) / (1 - bar) * (1 - bar / barPrevious);
          double std = options.eta * Math.sqrt(variance);
          double ofEpsilon = Math.sqrt(1 - barPrevious - std * std);
          Tensor next = e.x0().mul(Math.sqrt(barPrevious)).add(epsilon.mul(ofEpsilon));
          return options.eta > 0 ? next.add(source.next(x.spec()).mul(std)) : next;
        });
  }

  /**
   * Euler steps along a rectified flow, σ from 1 to 0 in equal parts: x += (σ' - σ) v.
   *
   * @param denoiser a network that predicts {@link Prediction#FLOW}
   * @param noise the starting point, standard normal [B, C, ...]
   * @param condition labels or another conditioning; null if there is none
   * @param steps the number of network calls
   * @param listener told after each step
   * @return the samples, in the current scope
   */
  public static Tensor flow(
      Denoiser denoiser, Tensor noise, @Nullable Tensor condition, int steps, Listener listener) {
    if (denoiser.prediction() != Prediction.FLOW) {
      throw new IllegalArgumentException(
          "flow sampling needs a network that predicts a flow; this one predicts "
              + denoiser.prediction().configName());
    }
    return loop(
        noise,
        steps,
        listener,
        (x, i) -> {
          double sigma = 1 - (double) i / steps;
          double[] t = new double[x.dim(0)];
          Arrays.fill(t, sigma * denoiser.schedule().steps());
          return x.sub(denoiser.network().call(x, t, condition).div(steps));
        });
  }

  /** One step of a sampler. */
  private interface Step {
    Tensor apply(Tensor x, int index);
  }

  private static Tensor loop(Tensor start, int steps, Listener listener, Step step) {
    Scope outer = Scope.current();
    Tensor x = start;
    x.storage().retain();
    try {
      for (int i = 0; i < steps; i++) {
        Tensor before = x;
        Scope scope = Scope.open();
        try {
          Tensor after = step.apply(before, i);
          listener.step(i + 1, steps, after);
          after.storage().retain();
          x = after;
        } finally {
          scope.close();
        }
        before.storage().release();
      }
      x.storage().retain();
      outer.own(x.storage());
      return x;
    } finally {
      x.storage().release();
    }
  }
}
