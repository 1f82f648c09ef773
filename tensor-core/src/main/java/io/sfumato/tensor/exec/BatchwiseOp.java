// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Shape;

/**
 * An op that computes each element of a batch by itself: index i along axis 0 of its outputs
 * depends on index i along axis 0 of its inputs, and on inputs that all elements share. A backend
 * may cut the batch and launch the op on the pieces.
 */
public interface BatchwiseOp extends Op {
  /**
   * Whether it is so for inputs of these sizes.
   *
   * @param first shape of the first input
   */
  default boolean isBatchwise(Shape first) {
    return first.rank() > 0;
  }

  /** Whether an input has no batch axis: all elements share it. */
  default boolean isShared(int input) {
    return false;
  }

  /** Whether an output has no batch axis: it is a sum over the elements. */
  default boolean isSummed(int output) {
    return false;
  }
}
