// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

/**
 * A factor on the learning rate as a function of the step, 0 for the first. The formulas are those
 * of diffusers' {@code get_scheduler} and of {@code torch.optim.lr_scheduler}.
 *
 * {@snippet :
 * Schedule schedule = Schedule.cosine(9_500).withWarmup(500);
 * optimizer.setLearningRateFactor(schedule.factor(step));
 * }
 */
@FunctionalInterface
public interface Schedule {
  /** The factor at a step, not negative. */
  double factor(long step);

  /** Always 1. */
  static Schedule constant() {
    return step -> 1;
  }

  /** From 1 to 0 in {@code steps} steps, then 0. */
  static Schedule linear(long steps) {
    positive(steps);
    return step -> Math.max(0, (double) (steps - step) / steps);
  }

  /** Half a cosine from 1 to 0 in {@code steps} steps. */
  static Schedule cosine(long steps) {
    return cosine(steps, 0.5);
  }

  /** {@code max(0, (1 + cos(2π cycles step/steps)) / 2)}. */
  static Schedule cosine(long steps, double cycles) {
    positive(steps);
    return step -> Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * step / steps)));
  }

  /**
   * {@code cycles} times half a cosine from 1 to 0, with a jump back to 1; 0 after {@code steps}.
   */
  static Schedule cosineWithRestarts(long steps, int cycles) {
    positive(steps);
    return step -> {
      double progress = (double) step / steps;
      return progress >= 1
          ? 0
          : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * (cycles * progress % 1.0))));
    };
  }

  /** {@code (1 - end) (1 - step/steps)^power + end}, then {@code end}. */
  static Schedule polynomial(long steps, double power, double end) {
    positive(steps);
    Checks.notNegative("end", end);
    return step ->
        step > steps ? end : (1 - end) * Math.pow(1 - (double) step / steps, power) + end;
  }

  /**
   * The 1cycle policy (Smith and Topin 2018) with cosines: up from 1/25 to 1 in 30 % of the steps,
   * then down to 4e-6. As {@code OneCycleLR} with its defaults, relative to {@code max_lr}.
   */
  static Schedule oneCycle(long steps) {
    return oneCycle(steps, 0.3, 25, 1e4);
  }

  /**
   * The 1cycle policy with cosines.
   *
   * @param steps the number of steps
   * @param rising the share of the steps in which the rate rises
   * @param divisor the first factor is 1/divisor
   * @param finalDivisor the last factor is 1/(divisor finalDivisor)
   */
  static Schedule oneCycle(long steps, double rising, double divisor, double finalDivisor) {
    positive(steps);
    Checks.fraction("rising", rising);
    double first = 1 / divisor;
    double last = first / finalDivisor;
    double top = rising * steps - 1;
    return step -> {
      if (step <= top) {
        return anneal(first, 1, step / top);
      }
      double end = steps - 1.0;
      return anneal(1, last, Math.min(1, (step - top) / (end - top)));
    };
  }

  /** This schedule after {@code steps} steps in which the factor rises linearly from 0. */
  default Schedule withWarmup(long steps) {
    return step -> step < steps ? (double) step / Math.max(1, steps) : factor(step - steps);
  }

  private static double anneal(double from, double to, double share) {
    return to + (from - to) / 2 * (Math.cos(Math.PI * share) + 1);
  }

  private static void positive(long steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("steps must be positive; got " + steps);
    }
  }
}
