// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.Arrays;
import java.util.function.IntToDoubleFunction;

/**
 * The variational bound that teaches a network its variance (Nichol and Dhariwal, 2021, section
 * 3.1): the other part of the hybrid loss. Its gradient reaches the variance alone; the mean is
 * learned by the simple loss.
 */
final class VariationalBound {
  private static final double LN2 = Math.log(2);

  /** Half the distance of two of 256 levels in [-1, 1]. */
  private static final double HALF_LEVEL = 1.0 / 255;

  private VariationalBound() {}

  /**
   * T/1000 times the terms of the bound at the batch's timesteps, in bits per value: {@code
   * KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))} for t above 0, {@code -log p(x_0 | x_1)} of
   * pictures with 256 levels at t = 0. The weight is that of the reference, which divides T times
   * the bound by 1000.
   *
   * @param schedule the noise schedule; its variance_type must be learned_range
   * @param x0 clean samples in [-1, 1]
   * @param noisy x_t
   * @param t timesteps
   * @param value the network's prediction
   * @param fraction the network's variance: -1 for the least of its range, 1 for the largest
   * @return a scalar
   * @throws IllegalArgumentException if the schedule has another variance_type
   */
  static Tensor of(
      NoiseSchedule schedule, Tensor x0, Tensor noisy, int[] t, Tensor value, Tensor fraction) {
    Object type = schedule.config().values().get("variance_type");
    if (!"learned_range".equals(type)) {
      throw new IllegalArgumentException(
          "a network with twice the channels of its input learns its variance; the schedule must"
              + " have the variance_type learned_range, not "
              + type);
    }
    Posterior q = new Posterior(schedule);
    Tensor difference = x0.sub(estimate(schedule, noisy, t, Autograd.detach(value)));
    Tensor low = perSample(t, q::logLeast, x0);
    Tensor range = perSample(t, i -> q.logMost(i) - q.logLeast(i), x0);
    Tensor logVariance = low.add(fraction.add(1).mul(0.5).mul(range));
    Tensor terms = divergence(difference.mul(perSample(t, q::ofX0, x0)), low, logVariance);
    if (Arrays.stream(t).anyMatch(i -> i == 0)) {
      Tensor first = perSample(t, i -> i == 0 ? 1 : 0, x0);
      Tensor likelihood = likelihood(x0, difference, logVariance);
      terms = terms.mul(first.neg().add(1)).sub(likelihood.mul(first));
    }
    return Num.mean(terms).mul(schedule.steps() / 1000.0 / LN2);
  }

  /** The Kullback-Leibler divergence of two normal distributions, in nats. */
  private static Tensor divergence(Tensor means, Tensor log1, Tensor log2) {
    Tensor ratio = log1.sub(log2).exp();
    Tensor distance = means.square().mul(log2.neg().exp());
    return log2.sub(log1).add(ratio).add(distance).sub(1).mul(0.5);
  }

  /** The logarithm of the probability of a level of a picture; the outermost reach to infinity. */
  private static Tensor likelihood(Tensor x0, Tensor difference, Tensor logVariance) {
    Tensor scale = logVariance.mul(-0.5).exp();
    Tensor above = normalCdf(difference.add(HALF_LEVEL).mul(scale));
    Tensor below = normalCdf(difference.sub(HALF_LEVEL).mul(scale));
    Tensor logAbove = log(above);
    Tensor logRest = log(below.neg().add(1));
    Tensor inside = log(above.sub(below));
    Tensor right = Num.where(Num.gt(x0, 0.999), logRest, inside);
    return Num.where(Num.lt(x0, -0.999), logAbove, right);
  }

  private static Tensor log(Tensor p) {
    return Num.log(Num.clamp(p, 1e-12, 1));
  }

  /** Φ(x) by tanh, as the reference has it. */
  private static Tensor normalCdf(Tensor x) {
    Tensor inner = x.add(x.pow(3).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
    return Num.tanh(inner).add(1).mul(0.5);
  }

  /** x₀ from the prediction, each sample at its own t. */
  private static Tensor estimate(NoiseSchedule schedule, Tensor x, int[] t, Tensor value) {
    IntToDoubleFunction a = i -> Math.sqrt(schedule.alphaBar(i));
    IntToDoubleFunction s = i -> Math.sqrt(1 - schedule.alphaBar(i));
    return switch (schedule.config().prediction()) {
      case EPSILON -> x.sub(value.mul(perSample(t, s, x))).div(perSample(t, a, x));
      case SAMPLE -> value;
      case V_PREDICTION -> x.mul(perSample(t, a, x)).sub(value.mul(perSample(t, s, x)));
      case FLOW -> throw new IllegalArgumentException("a flow has no variance to learn");
    };
  }

  private static Tensor perSample(int[] t, IntToDoubleFunction f, Tensor like) {
    return NoiseSchedule.perSample(Arrays.stream(t).mapToDouble(f).toArray(), like);
  }

  /** q(x_{t-1} | x_t, x_0). */
  private record Posterior(NoiseSchedule schedule) {
    private double beta(int t) {
      return 1 - schedule.alphaBar(t) / schedule.alphaBar(t - 1);
    }

    private double variance(int t) {
      return beta(t) * (1 - schedule.alphaBar(t - 1)) / (1 - schedule.alphaBar(t));
    }

    /** The share of x₀ in the mean. */
    double ofX0(int t) {
      return beta(t) * Math.sqrt(schedule.alphaBar(t - 1)) / (1 - schedule.alphaBar(t));
    }

    /** The logarithm of the variance; that of t = 1 at t = 0, where it is 0. */
    double logLeast(int t) {
      return Math.log(variance(Math.max(t, 1)));
    }

    double logMost(int t) {
      return Math.log(beta(t));
    }
  }
}
