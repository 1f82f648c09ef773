// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/** A device is absent, mixed with another, or failed. */
public non-sealed class DeviceException extends TensorException {
  private static final long serialVersionUID = 1;

  /** An exception with the message that {@code requirement} gives. */
  public DeviceException(String requirement) {
    super(requirement);
  }
}
