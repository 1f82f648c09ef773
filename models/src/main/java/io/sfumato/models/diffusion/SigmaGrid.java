// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Times and noise levels of the samplers that step in σ: Euler, ancestral Euler and Heun.
 *
 * @param times the network's times
 * @param sigmas the levels, the final one included
 */
@SuppressWarnings("ArrayRecordComponent") // made and read at once, never compared
record SigmaGrid(double[] times, float[] sigmas) {
  static SigmaGrid ofTimes(SchedulerConfig c, NoiseSchedule schedule, Steps steps) {
    float[] training = schedule.sigmas(true);
    int n = steps.count();
    double[] times;
    double[] levels;
    List<Double> given = steps.sigmas();
    if (given != null) {
      levels = rounded(given);
      times = Sigmas.timesteps(levels, training);
      return new SigmaGrid(times(times), Sigmas.withFinal(levels, 0));
    }
    times = Spacing.fractional(c, n);
    levels =
        c.is("interpolation_type", "log_linear")
            ? logLinear(training, n + 1)
            : Sigmas.at(times, training);
    if (Sigmas.respaced(c)) {
      levels = Sigmas.respace(c, levels[0], levels[levels.length - 1], n);
      times = Sigmas.timesteps(levels, training);
    }
    double last = c.is("final_sigmas_type", "sigma_min") ? training[0] : 0;
    return new SigmaGrid(times(times), Sigmas.withFinal(levels, last));
  }

  private static double[] rounded(List<Double> given) {
    return given.stream().mapToDouble(s -> s.floatValue()).toArray();
  }

  /** Times as the network is given them, in 32 bits. */
  private static double[] times(double[] t) {
    return java.util.Arrays.stream(t).map(v -> (float) v).toArray();
  }

  private static double[] logLinear(float[] training, int n) {
    float[] logs =
        Betas.linspace(F32.numpyLog(training[training.length - 1]), F32.numpyLog(training[0]), n);
    double[] levels = new double[n];
    for (int i = 0; i < n; i++) {
      levels[i] = F32.exp(logs[i]);
    }
    return levels;
  }

  /** The standard deviation of pure noise at the start: its largest σ, or √(σ² + 1). */
  double initialSigma(SchedulerConfig c) {
    float most = 0;
    for (float s : sigmas) {
      most = Math.max(most, s);
    }
    return c.is("timestep_spacing", "leading") ? F32.sqrt(most * most + 1) : most;
  }

  /** What the network is given: x / √(σ² + 1). */
  static Tensor scaled(Tensor x, float sigma) {
    return F32.quotient(x, F32.sqrt(sigma * sigma + 1));
  }

  /** Checks {@code sigma_min} and {@code sigma_max} together. */
  static void checkRange(SchedulerConfig.Reading c, List<String> wrong) {
    @Nullable Double min = c.optionalNumber("sigma_min");
    @Nullable Double max = c.optionalNumber("sigma_max");
    if (min != null && !(min > 0)) {
      wrong.add("sigma_min must be positive; got " + min);
    }
    if (max != null && !(max > 0 && max < Double.POSITIVE_INFINITY)) {
      wrong.add("sigma_max must be positive; got " + max);
    }
    if (min != null && max != null && min >= max) {
      wrong.add("sigma_min must be below sigma_max; got " + min + " and " + max);
    }
  }
}
