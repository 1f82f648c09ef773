// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A device's way to compute an op. Kernels write into outputs that are already allocated, and know
 * nothing of scopes, tapes or executors.
 *
 * @param <O> the op
 */
public interface Kernel<O extends Op> {
  /**
   * Why this kernel does not take the case, as half a sentence ("needs head size up to 256"), or
   * null if it does.
   */
  default @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
    return null;
  }

  /**
   * Computes {@code out} from {@code in}; for an {@link InPlaceOp}, writes into {@code in}.
   *
   * @param op the op with its attributes
   * @param in the inputs, of any layout
   * @param out the outputs, in the layouts the op asked for
   */
  void launch(O op, Tensor[] in, Tensor[] out);
}
