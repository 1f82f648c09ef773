// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import org.jspecify.annotations.Nullable;

/**
 * What belongs to a step of an {@link Optimizer} besides the gradients. In this order: gradients
 * are multiplied by {@code gradientScale}; then by {@code maxNorm / (norm + 1e-6)} if that is below
 * 1, where the norm is the Euclidean norm of all of them together (as PyTorch's {@code
 * clip_grad_norm_}; a norm that is not finite changes nothing); parameters are updated; averages
 * move towards them as {@link Ema#update} does.
 *
 * @param gradientScale factor on the gradients, to undo a loss scale
 * @param maxNorm the largest norm to let through, positive; null if any
 * @param ema averages to move; null if there are none. Of 16-bit parameters they follow the f32
 *     master weights instead of what these are rounded to
 */
public record StepOptions(double gradientScale, @Nullable Double maxNorm, @Nullable Ema ema) {
  /** Nothing besides the gradients. */
  public static final StepOptions NONE = new StepOptions(1, null, null);

  /** Checks the limit. */
  public StepOptions {
    if (maxNorm != null && !(maxNorm > 0)) {
      throw new IllegalArgumentException("maxNorm must be positive; got " + maxNorm);
    }
  }

  /** Gradients limited to this norm. */
  public static StepOptions limit(double maxNorm) {
    return new StepOptions(1, maxNorm, null);
  }

  /** Also multiplies gradients by a factor, before they are limited. */
  public StepOptions scale(double factor) {
    return new StepOptions(factor, maxNorm, ema);
  }

  /** Also moves averages. */
  public StepOptions average(Ema averages) {
    return new StepOptions(gradientScale, maxNorm, averages);
  }
}
