// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import java.nio.file.Path;

/** A tensor file is missing, corrupt, hostile or cannot be written. The message names the file. */
public final class TensorFileException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** A failure at a file. */
  public TensorFileException(Path file, String what) {
    super(file + ": " + what);
  }

  /** A failure at a file with its cause. */
  public TensorFileException(Path file, String what, Throwable cause) {
    super(file + ": " + what, cause);
  }
}
