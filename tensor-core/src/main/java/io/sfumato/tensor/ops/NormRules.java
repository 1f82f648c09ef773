// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Saved;
import java.util.stream.IntStream;

/** What the normalisations share. */
final class NormRules {
  private NormRules() {}

  /** Statistics are results for the fused backward, not for users. */
  static void noStatisticsGradient(Backward c, String op, int outputs) {
    noStatisticsGradient(c, op, 1, outputs);
  }

  /** The same for statistics from output {@code first} on. */
  static void noStatisticsGradient(Backward c, String op, int first, int outputs) {
    for (int i = first; i < outputs; i++) {
      if (c.gradOrNull(i) != null) {
        throw new NotDifferentiableException(
            op + ": the statistics have no backward; compute them with reductions instead");
      }
    }
  }

  /** All inputs and the outputs after the first: what the fused backwards want. */
  static Saved inputsAndStatistics(int inputs, int outputs) {
    return Saved.inputs(IntStream.range(0, inputs).toArray())
        .andOutputs(IntStream.range(1, outputs).toArray());
  }

  /**
   * Mean and reciprocal standard deviation of {@code n} values that lie {@code step} apart.
   *
   * @return mean, 1 / sqrt(variance + eps)
   */
  static double[] statistics(double[] x, int first, int n, double eps) {
    double sum = 0;
    for (int i = first; i < first + n; i++) {
      sum += x[i];
    }
    double mean = sum / n;
    double squares = 0;
    for (int i = first; i < first + n; i++) {
      squares += (x[i] - mean) * (x[i] - mean);
    }
    return new double[] {mean, 1 / Math.sqrt(squares / n + eps)};
  }

  /**
   * The gradient through {@code x̂ = (x - mean) rstd} of one run of values: {@code dx = rstd (dx̂ -
   * mean(dx̂) - x̂ mean(dx̂ x̂))}. On entry {@code dx} holds {@code dx̂}.
   */
  static void backward(double[] x, double[] dx, int first, int n, double mean, double rstd) {
    double sum = 0;
    double product = 0;
    for (int i = first; i < first + n; i++) {
      sum += dx[i];
      product += dx[i] * (x[i] - mean) * rstd;
    }
    for (int i = first; i < first + n; i++) {
      dx[i] = rstd * (dx[i] - sum / n - (x[i] - mean) * rstd * product / n);
    }
  }

  static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }
}
