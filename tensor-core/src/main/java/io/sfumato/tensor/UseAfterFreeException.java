// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/** A tensor was used after the scope that owned it was closed. */
public final class UseAfterFreeException extends TensorException {
  private static final long serialVersionUID = 1;

  /** An exception with the message that {@code requirement} gives. */
  public UseAfterFreeException(String requirement) {
    super(requirement);
  }
}
