// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.Adam;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.nn.ConfigCheck;

/**
 * How a {@link GanTrainer} trains.
 *
 * @param loss what both networks minimise
 * @param gradientPenalty weight of {@link GanLoss#gradientPenalty}; 0 for none
 * @param r1 weight γ of {@link GanLoss#r1}, which counts γ/2 times; 0 for none
 * @param r1Interval R1 is added, times this, to every n-th update only (Karras et al. 2020)
 * @param discriminatorSteps updates of the discriminator for one of the generator
 * @param discriminatorRate the discriminator's learning rate, as a multiple of the generator's (two
 *     time scales: Heusel et al. 2017)
 * @param beta1 of Adam
 * @param beta2 of Adam
 * @param emaDecay the largest decay of the average of the generator's weights
 */
public record GanOptions(
    GanLoss loss,
    double gradientPenalty,
    double r1,
    int r1Interval,
    int discriminatorSteps,
    double discriminatorRate,
    double beta1,
    double beta2,
    double emaDecay) {
  /** Checks the values together; the message lists everything wrong. */
  public GanOptions {
    ConfigCheck wrong = new ConfigCheck("GAN training");
    wrong.require(
        gradientPenalty >= 0, "gradientPenalty must not be negative; got " + gradientPenalty);
    wrong.require(r1 >= 0, "r1 must not be negative; got " + r1);
    wrong.require(r1Interval > 0, "r1Interval must be positive; got " + r1Interval);
    wrong.require(
        discriminatorSteps > 0, "discriminatorSteps must be positive; got " + discriminatorSteps);
    wrong.require(
        discriminatorRate > 0, "discriminatorRate must be positive; got " + discriminatorRate);
    wrong.require(beta1 >= 0 && beta1 < 1, "beta1 must be in [0, 1); got " + beta1);
    wrong.require(beta2 >= 0 && beta2 < 1, "beta2 must be in [0, 1); got " + beta2);
    wrong.require(emaDecay >= 0 && emaDecay <= 1, "emaDecay must be in [0, 1]; got " + emaDecay);
    wrong.require(
        loss != GanLoss.WGAN_GP || gradientPenalty > 0,
        "gradientPenalty must be positive for wgan-gp; got " + gradientPenalty);
    wrong.done();
  }

  /**
   * What the paper of a loss recommends: Adam's β 0.5 and 0.999 (Radford et al. 2016), for wgan-gp
   * a penalty of 10, five updates of the discriminator and β 0 and 0.9.
   */
  public static GanOptions of(GanLoss loss) {
    return loss == GanLoss.WGAN_GP
        ? new GanOptions(loss, 10, 0, 1, 5, 1, 0, 0.9, 0.999)
        : new GanOptions(loss, 0, 0, 1, 1, 1, 0.5, 0.999, 0.999);
  }

  /** R1 of weight γ in every update. */
  public GanOptions r1(double gamma) {
    return r1(gamma, 1);
  }

  /** R1 of weight γ in every {@code interval}-th update. */
  public GanOptions r1(double gamma, int interval) {
    return new GanOptions(
        loss,
        gradientPenalty,
        gamma,
        interval,
        discriminatorSteps,
        discriminatorRate,
        beta1,
        beta2,
        emaDecay);
  }

  /** Another weight of the gradient penalty. */
  public GanOptions gradientPenalty(double weight) {
    return new GanOptions(
        loss,
        weight,
        r1,
        r1Interval,
        discriminatorSteps,
        discriminatorRate,
        beta1,
        beta2,
        emaDecay);
  }

  /** Updates of the discriminator per step, and its learning rate by the generator's. */
  public GanOptions discriminator(int steps, double rate) {
    return new GanOptions(
        loss, gradientPenalty, r1, r1Interval, steps, rate, beta1, beta2, emaDecay);
  }

  /** Other decays of Adam's averages. */
  public GanOptions betas(double first, double second) {
    return new GanOptions(
        loss,
        gradientPenalty,
        r1,
        r1Interval,
        discriminatorSteps,
        discriminatorRate,
        first,
        second,
        emaDecay);
  }

  /** Adam with these betas and averages of this decay. */
  public UpdateOptions update() {
    return UpdateOptions.adam()
        .adamOptions(Adam.options().betas(beta1, beta2))
        .ema(Ema.options().decay(emaDecay));
  }

  /** Another largest decay of the generator's average. */
  public GanOptions emaDecay(double decay) {
    return new GanOptions(
        loss,
        gradientPenalty,
        r1,
        r1Interval,
        discriminatorSteps,
        discriminatorRate,
        beta1,
        beta2,
        decay);
  }
}
