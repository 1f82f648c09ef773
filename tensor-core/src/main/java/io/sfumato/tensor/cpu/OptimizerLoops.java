// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** Optimizer updates of {@code n} consecutive parameters, in one pass over all operands. */
public interface OptimizerLoops {
  /**
   * Constants of one Adam step (Kingma and Ba 2015; decoupled decay: Loshchilov and Hutter 2019).
   *
   * @param learningRate step size
   * @param beta1 decay of the first moment
   * @param beta2 decay of the second moment
   * @param epsilon added to the denominator
   * @param weightDecay decay coefficient
   * @param decoupled true for AdamW, false for Adam with the decay added to the gradient
   * @param biasCorrection1 {@code 1 - beta1^t}
   * @param biasCorrection2 {@code 1 - beta2^t}
   * @param gradientScale factor on the gradient (unscaling and clipping)
   */
  record AdamStep(
      double learningRate,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay,
      boolean decoupled,
      double biasCorrection1,
      double biasCorrection2,
      double gradientScale) {
    /** What of the parameter is added to its gradient: the decay, if it is not decoupled. */
    public double l2() {
      return decoupled ? 0 : weightDecay;
    }

    /** What is left of a parameter: {@code 1 - lr wd} with decoupled decay, else 1. */
    public double keep() {
      return decoupled ? 1 - learningRate * weightDecay : 1;
    }

    /** The factor of the first moment, {@code lr / (1 - beta1^t)}. */
    public double rate() {
      return learningRate / biasCorrection1;
    }

    /** The factor of the second moment's root, {@code 1 / √(1 - beta2^t)}. */
    public double root() {
      return 1 / Math.sqrt(biasCorrection2);
    }
  }

  /**
   * Constants of one step of gradient descent with momentum, as in PyTorch's SGD.
   *
   * @param learningRate step size
   * @param momentum decay of the velocity
   * @param dampening the gradient enters the velocity with {@code 1 - dampening}
   * @param weightDecay coefficient of the L2 term added to the gradient
   * @param nesterov look-ahead step
   * @param gradientScale factor on the gradient
   */
  record SgdStep(
      double learningRate,
      double momentum,
      double dampening,
      double weightDecay,
      boolean nesterov,
      double gradientScale) {}

  /**
   * {@code m = β₁m + (1-β₁)g, v = β₂v + (1-β₂)g², p = p(1 - lr wd) - lr (m/c₁) / (√(v/c₂) + ε)}.
   */
  void adam(long p, long g, long m, long v, int n, AdamStep step);

  /**
   * {@link #adam}, and then {@code average += rate (p - average)} with the new p, while it is at
   * hand.
   */
  void adamAverage(long p, long g, long m, long v, long average, int n, AdamStep step, float rate);

  /** {@code p -= lr (g + wd p)}. */
  void sgd(long p, long g, int n, SgdStep step);

  /** {@code v = μv + (1-d)(g + wd p), p -= lr v}; with Nesterov {@code p -= lr (g + wd p + μv)}. */
  void sgdMomentum(long p, long g, long v, int n, SgdStep step);

  /** {@code average += (1 - decay)(p - average)}. */
  void ema(long average, long p, int n, float decay);
}
