// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import org.jspecify.annotations.Nullable;

/**
 * Offers devices of one kind; found by {@link java.util.ServiceLoader}. Loading and asking a
 * provider never throws, whatever is missing on the machine.
 */
public interface BackendProvider {
  /** The kind of device, as in {@link io.sfumato.tensor.Device#kind}. */
  String kind();

  /** Why there is no such device here, with the remedy, as a sentence; or null if there is one. */
  @Nullable String unavailable();

  /** The number of devices; 0 when unavailable. */
  int count();

  /**
   * The backend of one device; the same object every time.
   *
   * @throws io.sfumato.tensor.DeviceException if there is no such device
   */
  Backend open(int index);
}
