// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

/** Ranks could not talk to each other: one is lost, took too long, or the library said no. */
public final class CollectiveException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** What happened, and to whom. */
  public CollectiveException(String message) {
    super(message);
  }

  /** What happened, and to whom. */
  public CollectiveException(String message, Throwable cause) {
    super(message, cause);
  }
}
