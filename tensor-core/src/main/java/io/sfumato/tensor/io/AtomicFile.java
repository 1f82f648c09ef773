// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Writes files so that they appear whole or not at all: into a temporary file in the same folder,
 * forced to disk, then renamed over the target. Whatever fails, the old content stays.
 */
public final class AtomicFile {
  private static final AtomicLong COUNT = new AtomicLong();

  private AtomicFile() {}

  /** Produces the content. */
  @FunctionalInterface
  public interface Content {
    /**
     * Writes everything.
     *
     * @param out positioned at the start of an empty file
     * @throws IOException if that fails; the target stays as it was
     */
    void writeTo(FileChannel out) throws IOException;
  }

  /**
   * Replaces {@code file} with what {@code content} writes.
   *
   * @throws TensorFileException if it cannot be written, naming file and reason
   */
  public static void write(Path file, Content content) {
    Path folder = folderOf(file);
    Path temporary = null;
    try {
      String unique = ProcessHandle.current().pid() + "." + COUNT.incrementAndGet();
      Path fresh = folder.resolve("." + file.getFileName() + "." + unique + ".tmp");
      try (FileChannel out =
          FileChannel.open(fresh, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        temporary = fresh;
        content.writeTo(out);
        out.force(true);
      }
      move(temporary, file);
      temporary = null;
    } catch (IOException e) {
      throw new TensorFileException(
          file, "cannot be written: " + e.getClass().getSimpleName() + ": " + e.getMessage(), e);
    } finally {
      deleteQuietly(temporary);
    }
  }

  /** The folder that holds {@code file}. */
  static Path folderOf(Path file) {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null) {
      throw new TensorFileException(file, "is not the path of a file");
    }
    return folder;
  }

  private static void move(Path from, Path to) throws IOException {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (AtomicMoveNotSupportedException e) {
      Files.move(from, to, StandardCopyOption.REPLACE_EXISTING);
    }
  }

  private static void deleteQuietly(@Nullable Path file) {
    try {
      if (file != null) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      System.getLogger("io.sfumato.io")
          .log(System.Logger.Level.WARNING, "temporary file " + file + " could not be removed", e);
    }
  }

  /** Writes all of {@code bytes}. */
  public static void writeFully(FileChannel out, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      out.write(bytes);
    }
  }
}
