// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

/** A collective operation under way. */
@FunctionalInterface
public interface Pending {
  /** One that is done. */
  Pending DONE = () -> {};

  /**
   * Waits until it is done; the memory it works on must neither be read nor written before.
   *
   * @throws CollectiveException if it failed
   */
  void await();
}
