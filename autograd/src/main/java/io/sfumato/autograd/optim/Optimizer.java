// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.autograd.Gradients;
import io.sfumato.tensor.Tensor;
import java.util.Map;

/**
 * Changes parameters in place by their gradients. A parameter without a gradient is left alone, its
 * state and step count too, as in PyTorch. For BF16 and F16 parameters the optimizer keeps f32
 * master weights, updates those, and rounds them into the parameters.
 *
 * <p>{@link StepOptions} limits the gradients' norm and moves averages in the same call:
 *
 * {@snippet :
 * optimizer.step(gradients, StepOptions.limit(1).average(ema));
 * }
 *
 * <p>Gradients are not searched for NaN: one that is not finite spoils the parameter. Ask {@link
 * Gradients#isFinite} (or look at what {@link Gradients#clipByNorm} returns) before stepping, and
 * skip the step.
 *
 * <p>State lives until {@link #close}, whatever scopes do.
 */
public interface Optimizer extends AutoCloseable {
  /** One step. */
  default void step(Gradients gradients) {
    step(gradients, StepOptions.NONE);
  }

  /**
   * One step with all gradients multiplied by a factor, for unscaling and clipping without a pass
   * of their own.
   */
  default void step(Gradients gradients, double gradientScale) {
    step(gradients, StepOptions.NONE.scale(gradientScale));
  }

  /**
   * One step, and what belongs to it: scaling, limiting the norm of the gradients, averages. The
   * gradients stay as they are. Nothing is read back from the device. Adam and AdamW do all of it
   * in the pass of the step, after one over the gradients for their norm; other optimizers take
   * passes of their own.
   */
  void step(Gradients gradients, StepOptions options);

  /** The learning rate of groups that have none of their own, before the factor. */
  double learningRate();

  /** Sets {@link #learningRate}. */
  void setLearningRate(double rate);

  /** Multiplies the learning rates of all groups from now on; what a {@link Schedule} gives. */
  void setLearningRateFactor(double factor);

  /** The number of steps so far. */
  long stepCount();

  /**
   * Everything needed to go on, by name: {@code <parameter>.<state>} with the names that PyTorch
   * uses, {@code <parameter>.step}, {@code <parameter>.master}, and {@code step}. The tensors are
   * those in use, not copies, but the step counts, which belong to the current scope.
   */
  Map<String, Tensor> state();

  /**
   * Takes over values that {@link #state} gave, so that training goes on bit-identically. Strict.
   *
   * @throws IllegalArgumentException with the names that are missing or unknown
   */
  void load(Map<String, Tensor> state);

  /** Lets go of the state. The parameters stay. */
  @Override
  void close();
}
