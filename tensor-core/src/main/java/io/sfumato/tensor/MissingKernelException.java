// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/** A device has no kernel for an op, its types or its layout. */
public final class MissingKernelException extends TensorException {
  private static final long serialVersionUID = 1;

  /** An exception with the message that {@code requirement} gives. */
  public MissingKernelException(String requirement) {
    super(requirement);
  }
}
