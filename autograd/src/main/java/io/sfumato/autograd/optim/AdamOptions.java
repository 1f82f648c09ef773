// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

/**
 * Options of {@link Adam} and {@link AdamW}.
 *
 * @param learningRate step size
 * @param beta1 decay of the average gradient
 * @param beta2 decay of the average squared gradient
 * @param eps added to the denominator
 * @param weightDecay decay coefficient
 */
public record AdamOptions(
    double learningRate, double beta1, double beta2, double eps, double weightDecay) {
  /** Checks the numbers. */
  public AdamOptions {
    Checks.notNegative("learningRate", learningRate);
    Checks.fraction("beta1", beta1);
    Checks.fraction("beta2", beta2);
    Checks.notNegative("eps", eps);
    Checks.notNegative("weightDecay", weightDecay);
  }

  /** Another step size. */
  public AdamOptions learningRate(double value) {
    return new AdamOptions(value, beta1, beta2, eps, weightDecay);
  }

  /** Other decays of the averages. */
  public AdamOptions betas(double first, double second) {
    return new AdamOptions(learningRate, first, second, eps, weightDecay);
  }

  /** Another summand of the denominator. */
  public AdamOptions eps(double value) {
    return new AdamOptions(learningRate, beta1, beta2, value, weightDecay);
  }

  /** Another decay coefficient. */
  public AdamOptions weightDecay(double value) {
    return new AdamOptions(learningRate, beta1, beta2, eps, value);
  }
}
