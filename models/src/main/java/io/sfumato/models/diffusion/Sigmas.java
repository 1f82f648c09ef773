// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.function.DoubleUnaryOperator;

/**
 * Sequences of noise levels, and the timesteps that belong to them. Numbers are 64 bits wide where
 * the reference's are (NumPy), and the table of the training levels is 32 bits wide.
 */
final class Sigmas {
  private static final double RHO = 7;
  private static final double BETA_SHAPE = 0.6;

  private Sigmas() {}

  /** The training levels at fractional timesteps; beyond the ends, those of the ends. */
  static double[] at(double[] t, float[] training) {
    double[] sigmas = new double[t.length];
    int last = training.length - 1;
    for (int i = 0; i < t.length; i++) {
      if (t[i] >= last) {
        sigmas[i] = training[last];
      } else if (t[i] <= 0) {
        sigmas[i] = training[0];
      } else {
        int j = (int) t[i];
        double slope = (double) training[j + 1] - training[j];
        sigmas[i] = slope * (t[i] - j) + training[j];
      }
    }
    return sigmas;
  }

  /** Whether a configuration asks for levels spaced in another way than by timesteps. */
  static boolean respaced(SchedulerConfig c) {
    return c.flag("use_karras_sigmas")
        || c.flag("use_exponential_sigmas")
        || c.flag("use_beta_sigmas");
  }

  /**
   * Respaced levels, falling, between a configuration's {@code sigma_max} and {@code sigma_min} or
   * else the ends of {@code levels}.
   */
  static double[] respace(SchedulerConfig c, double most, double least, int n) {
    Double max = c.optionalNumber("sigma_max");
    Double min = c.optionalNumber("sigma_min");
    double high = max != null ? max : most;
    double low = min != null ? min : least;
    if (c.flag("use_karras_sigmas")) {
      return karras(high, low, n);
    }
    return c.flag("use_exponential_sigmas") ? exponential(high, low, n) : beta(high, low, n);
  }

  /** (max^{1/ρ} + u (min^{1/ρ} - max^{1/ρ}))^ρ with ρ = 7 (Karras et al., 2022). */
  private static double[] karras(double max, double min, int n) {
    double first = Math.pow(max, 1 / RHO);
    double last = Math.pow(min, 1 / RHO);
    return of(n, u -> Math.pow(first + u * (last - first), RHO));
  }

  /** Even in log σ. */
  private static double[] exponential(double max, double min, int n) {
    double first = Math.log(max);
    double last = Math.log(min);
    double[] sigmas = new double[n];
    for (int i = 0; i < n; i++) {
      double log =
          n > 1 && i == n - 1 ? last : n == 1 ? first : i * ((last - first) / (n - 1)) + first;
      sigmas[i] = Math.exp(log);
    }
    return sigmas;
  }

  /** Quantiles of the Beta(0.6, 0.6) distribution (Lee et al., 2024). */
  private static double[] beta(double max, double min, int n) {
    return of(n, u -> min + BetaQuantile.of(1 - u, BETA_SHAPE) * (max - min));
  }

  /** Even in λ between the logarithms of the training levels (Lu et al., 2022). */
  static double[] lu(float[] training, int n) {
    double first = F32.numpyLog(training[training.length - 1]);
    double last = F32.numpyLog(training[0]);
    return of(n, u -> Math.exp(first + u * (last - first)));
  }

  private static double[] of(int n, DoubleUnaryOperator f) {
    double[] values = new double[n];
    for (int i = 0; i < n; i++) {
      values[i] = f.applyAsDouble(Spacing.linspace(1, n, i));
    }
    return values;
  }

  /** The fractional timestep of a level, found between the logarithms of the training levels. */
  static double[] timesteps(double[] sigmas, float[] training) {
    float[] logs = new float[training.length];
    for (int t = 0; t < logs.length; t++) {
      logs[t] = F32.numpyLog(training[t]);
    }
    double[] times = new double[sigmas.length];
    for (int i = 0; i < sigmas.length; i++) {
      double log = Math.log(Math.max(sigmas[i], 1e-10));
      int low = 0;
      for (int t = 0; t < logs.length; t++) {
        if (log - logs[t] >= 0) {
          low = t; // the training levels rise
        }
      }
      low = Math.min(low, logs.length - 2);
      double w = (logs[low] - log) / (logs[low] - logs[low + 1]);
      w = Math.min(Math.max(w, 0), 1);
      times[i] = (1 - w) * low + w * (low + 1);
    }
    return times;
  }

  /** The levels in 32 bits and a final one. */
  static float[] withFinal(double[] sigmas, double last) {
    float[] all = new float[sigmas.length + 1];
    for (int i = 0; i < sigmas.length; i++) {
      all[i] = (float) sigmas[i];
    }
    all[sigmas.length] = (float) last;
    return all;
  }

  /** Levels of a rectified flow moved towards noise: s σ / (1 + (s - 1) σ). */
  static double shift(double sigma, double shift) {
    return shift * sigma / (1 + (shift - 1) * sigma);
  }

  /** The shift by resolution: m / (m + 1/σ - 1), with m = e^μ or μ. */
  static double shiftBy(SchedulerConfig c, double mu, double sigma) {
    double m = c.is("time_shift_type", "exponential") ? Math.exp(mu) : mu;
    return m / (m + (1 / sigma - 1));
  }

  /** Stretches levels of a flow so that the last is {@code terminal}. */
  static void stretch(double[] sigmas, double terminal) {
    double factor = (1 - sigmas[sigmas.length - 1]) / (1 - terminal);
    for (int i = 0; i < sigmas.length; i++) {
      sigmas[i] = 1 - (1 - sigmas[i]) / factor;
    }
  }
}
