// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;

/**
 * An op that can also be written with other ops. A recorder decomposes it when it is not itself
 * {@link Differentiable} (so fused backwards can be differentiated again), and a device without a
 * kernel for it uses the composition, which the trace shows.
 */
public interface Composite extends Op {
  /**
   * The same outputs by other ops.
   *
   * @param in the inputs
   */
  Tensor[] compose(Tensor[] in);
}
