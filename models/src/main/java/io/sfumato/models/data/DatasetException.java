// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A data file that cannot be used. The message names the file, the byte offset where known, what
 * was expected there and what came.
 */
public final class DatasetException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** The file or folder, as text (paths are not serializable). */
  private final String file;

  /** Where in the file, in bytes; -1 if the problem has no place. */
  private final long offset;

  private DatasetException(String file, long offset, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.file = file;
    this.offset = offset;
  }

  /**
   * A problem at one place of a file.
   *
   * @param file the file
   * @param offset byte offset of the problem; in the decompressed stream if the file is compressed
   * @param expected what the format asks for
   * @param got what the file holds
   */
  static DatasetException at(Path file, long offset, String expected, String got) {
    String message = file + ": at byte " + offset + ": expected " + expected + "; got " + got;
    return new DatasetException(file.toString(), offset, message, null);
  }

  /**
   * A problem with a file or folder as a whole.
   *
   * @param file the file
   * @param problem what is wrong with it
   * @return the exception
   */
  public static DatasetException of(Path file, String problem) {
    return new DatasetException(file.toString(), -1, file + ": " + problem, null);
  }

  /**
   * A problem with a file or folder as a whole, with what caused it.
   *
   * @param file the file
   * @param problem what is wrong with it
   * @param cause what caused it
   * @return the exception
   */
  public static DatasetException of(Path file, String problem, Throwable cause) {
    return new DatasetException(file.toString(), -1, file + ": " + problem, cause);
  }

  /** {@return the file or folder that could not be used} */
  public Path file() {
    return Path.of(file);
  }

  /**
   * {@return the byte offset of the problem (in the decompressed stream for a compressed file), or
   * -1 if it has none}
   */
  public long offset() {
    return offset;
  }
}
