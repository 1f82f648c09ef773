// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** An op with a backward, written as calls of other ops, so that it can be differentiated again. */
public interface Differentiable extends Op {
  /**
   * What backward will ask for. Only this is kept alive between forward and backward.
   *
   * @param needs which inputs want a gradient; keep nothing that only the others would need
   */
  Saved saved(boolean[] needs);

  /**
   * The vector-Jacobian product.
   *
   * @param context saved tensors, gradients of the outputs, and which inputs want one
   * @return one gradient per input, of the input's shape and type; null where {@code
   *     context.needs(i)} is false
   */
  @Nullable Tensor[] backward(Backward context);
}
