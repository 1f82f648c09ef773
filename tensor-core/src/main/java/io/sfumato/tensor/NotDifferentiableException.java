// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/** An op without backward was applied to a tracked tensor. */
public final class NotDifferentiableException extends TensorException {
  private static final long serialVersionUID = 1;

  /** An exception with the message that {@code requirement} gives. */
  public NotDifferentiableException(String requirement) {
    super(requirement);
  }
}
