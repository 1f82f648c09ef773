// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

/** Stored weights and a model do not fit together: a missing, unused or misshapen tensor. */
public final class WeightsException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** An exception with this message. */
  public WeightsException(String message) {
    super(message);
  }
}
