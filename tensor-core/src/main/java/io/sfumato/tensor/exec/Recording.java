// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;

/**
 * Work that can be done again as it was written down, without the host deciding anew what to launch
 * (see {@link Backend#record}). Inputs are tensors from outside; give them new values in place.
 * Numbers that the host computed are those of the recording, but for {@link Varying} parts.
 *
 * {@snippet :
 * try (Recording step = backend.record(() -> new Tensor[] {model.call(x)})) {
 *   Updates.copy(x, next);
 *   Tensor y = step.replay()[0];
 * }
 * }
 */
public interface Recording extends AutoCloseable {
  /**
   * Does the work.
   *
   * @return what the recorded body returned; valid until the next replay or until this is closed
   */
  Tensor[] replay();

  /** Forgets the work and frees its results. */
  @Override
  void close();
}
