// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/** An element type does not meet an op's requirement. */
public final class DTypeException extends TensorException {
  private static final long serialVersionUID = 1;

  /** An exception with the message that {@code requirement} gives. */
  public DTypeException(String requirement) {
    super(requirement);
  }
}
