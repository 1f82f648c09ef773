// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/** Dimensions, axes or indices do not meet an op's requirement. */
public final class ShapeException extends TensorException {
  private static final long serialVersionUID = 1;

  /** An exception with the message that {@code requirement} gives. */
  public ShapeException(String requirement) {
    super(requirement);
  }
}
