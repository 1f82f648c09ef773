// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.Schedule;
import io.sfumato.autograd.optim.ScheduleKind;
import org.jspecify.annotations.Nullable;

/** The learning rate over a run whose length may be a time and not a number of steps. */
@FunctionalInterface
public interface LearningRate {
  /**
   * The rate of one step.
   *
   * @param step steps done before
   * @param progress the part of the run that is done, 0 to 1
   */
  double at(long step, double progress);

  /** The same rate after a linear warm-up of {@code warmUp} steps. */
  static LearningRate constant(double rate, double warmUp) {
    return (step, progress) -> rate * Math.min(1, (step + 1) / Math.max(1, warmUp));
  }

  /**
   * A schedule by name, as diffusers and transformers compute it. Of a run that lasts a time, the
   * part after the warm-up follows the time.
   *
   * @param kind its name
   * @param shape warm-up, cycles and power
   * @param peak the highest rate
   * @param steps the steps of the run, or null if it lasts a time
   */
  static LearningRate of(
      ScheduleKind kind, ScheduleKind.Shape shape, double peak, @Nullable Integer steps) {
    if (steps != null) {
      Schedule schedule = kind.over(steps, shape, peak);
      return (step, progress) -> peak * schedule.factor(step);
    }
    long parts = 1L << 40;
    Schedule schedule =
        kind.over(parts, new ScheduleKind.Shape(0, shape.cycles(), shape.power()), peak);
    return (step, progress) ->
        step < shape.warmUp()
            ? peak * step / shape.warmUp()
            : peak * schedule.factor((long) (Math.min(1, progress) * parts));
  }

  /** A linear warm-up of {@code warmUp} steps, times half a cosine from {@code peak} to zero. */
  static LearningRate cosine(double peak, double warmUp) {
    LearningRate warm = constant(peak, warmUp);
    return (step, progress) ->
        warm.at(step, progress) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)));
  }
}
