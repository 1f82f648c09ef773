// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.io.Serial;

/** A library of NVIDIA's cannot be used; the message is the reason, for a line of the log. */
public final class MissingLibraryException extends Exception {
  @Serial private static final long serialVersionUID = 1L;

  /** With the reason. */
  public MissingLibraryException(String reason) {
    super(reason);
  }

  /** With the reason and what led to it. */
  public MissingLibraryException(String reason, Throwable cause) {
    super(reason, cause);
  }
}
