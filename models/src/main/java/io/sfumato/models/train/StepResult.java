// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

/**
 * What is known of a step.
 *
 * @param loss the mean loss of its batches, before the step
 * @param gradientNorm the norm of the mean gradient, before it was limited
 * @param pictures how many it learned from
 * @param skipped whether gradients overflowed in F16, and nothing was changed
 */
public record StepResult(double loss, double gradientNorm, int pictures, boolean skipped) {
  static StepResult of(Update.Done done, int pictures) {
    return new StepResult(done.loss(), done.gradientNorm(), pictures, done.skipped());
  }
}
