// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Tensor;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Training with less memory: inside {@link #active} the layers of a model keep only what goes into
 * them, and backward computes the rest again (Chen et al. 2016). The gradients are the same. Like
 * dropout it is a property of a region of code, not of the model:
 *
 * {@snippet :
 * Autograd.valueAndGrad(
 *     unet.parameters(), () -> GradientCheckpointing.active(() -> loss(unet.call(x, t, context))));
 * }
 *
 * <p>What the region uses, such as the inputs of the model, must be alive when backward runs.
 */
public final class GradientCheckpointing {
  private static final ScopedValue<Boolean> ACTIVE = ScopedValue.newInstance();

  private GradientCheckpointing() {}

  /** Runs {@code body}; layers of models inside are checkpointed. */
  public static <R> R active(Supplier<R> body) {
    return ScopedValue.where(ACTIVE, true).call(body::get);
  }

  /**
   * For models: runs a part that is checkpointed inside {@link #active}, and an ordinary one
   * elsewhere.
   *
   * @param body the part; it must do the same each time
   * @param inputs its arguments, kept until backward, as is whatever else {@code body} reads that
   *     is freed before: pass it too
   */
  public static Tensor region(Function<Tensor[], Tensor> body, Tensor... inputs) {
    return ACTIVE.isBound() ? Autograd.checkpoint(body, inputs) : body.apply(inputs);
  }
}
