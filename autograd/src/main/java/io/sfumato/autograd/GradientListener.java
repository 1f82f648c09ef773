// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Is told of gradients in the order in which backward completes them, roughly that of the layers
 * from the last to the first, so that something can be done with them while others are computed.
 */
@FunctionalInterface
public interface GradientListener {
  /**
   * The gradient of a parameter is complete.
   *
   * @param parameter the parameter
   * @param gradient the gradient, which stays as it is, valid during this call and in the region's
   *     result; null if the loss does not depend on the parameter
   */
  void complete(Parameter parameter, @Nullable Tensor gradient);
}
