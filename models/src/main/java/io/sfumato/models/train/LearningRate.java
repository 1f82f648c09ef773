// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

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

  /** A linear warm-up of {@code warmUp} steps, times half a cosine from {@code peak} to zero. */
  static LearningRate cosine(double peak, double warmUp) {
    LearningRate warm = constant(peak, warmUp);
    return (step, progress) ->
        warm.at(step, progress) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)));
  }
}
