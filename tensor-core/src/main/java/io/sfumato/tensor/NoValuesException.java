// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * Values were read of a tensor that has a shape but none: one of {@link Storage#withheld} or {@link
 * Storage#imagined} memory.
 */
public final class NoValuesException extends TensorException {
  private static final long serialVersionUID = 1;

  /** An exception with the message that {@code requirement} gives. */
  public NoValuesException(String requirement) {
    super(requirement);
  }
}
