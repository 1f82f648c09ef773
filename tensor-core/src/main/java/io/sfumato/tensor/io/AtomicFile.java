// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * Writes files so that they appear whole or not at all: into a temporary file in the same folder,
 * forced to disk, then renamed over the target. Whatever fails, the old content stays. Of several
 * writers of one file, the last to finish wins. A symbolic link is replaced, not followed.
 */
public final class AtomicFile {
  private static final System.Logger LOG = System.getLogger("io.sfumato.io");

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
   * Replaces {@code file} with what {@code content} writes. A new file has the permissions that the
   * process gives to any new file (its umask).
   *
   * @throws TensorFileException if it cannot be written, naming file and reason; what {@code
   *     content} throws beside IOException passes through
   */
  public static void write(Path file, Content content) {
    Path folder = folderOf(file);
    Path temporary = null;
    try {
      Path fresh = folder.resolve(temporaryName(file));
      try (FileChannel out =
          FileChannel.open(fresh, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        temporary = fresh;
        content.writeTo(out);
        out.force(true);
      }
      Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      temporary = null;
    } catch (IOException e) {
      throw new TensorFileException(file, "cannot be written: " + reason(folder, e), e);
    } finally {
      deleteQuietly(temporary);
    }
  }

  /** Unique also among machines that share a folder, and no longer than names may be. */
  private static String temporaryName(Path file) {
    String name = String.valueOf(file.getFileName());
    int end = Math.min(40, name.length());
    end -= Character.isHighSurrogate(name.charAt(end - 1)) ? 1 : 0;
    return "." + name.substring(0, end) + "." + UUID.randomUUID() + ".tmp";
  }

  /** The folder that holds {@code file}. */
  static Path folderOf(Path file) {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null || file.toString().isEmpty()) {
      throw new TensorFileException(file, "is not the path of a file");
    }
    return folder;
  }

  private static String reason(Path folder, IOException e) {
    if (!Files.isDirectory(folder)) {
      return "there is no folder " + folder;
    }
    String what = e instanceof FileSystemException f ? f.getReason() : e.getMessage();
    return e.getClass().getSimpleName() + (what == null ? "" : ": " + what) + " in " + folder;
  }

  private static void deleteQuietly(@Nullable Path file) {
    try {
      if (file != null) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      LOG.log(
          System.Logger.Level.WARNING, "temporary file " + file + " is left: delete it by hand", e);
    }
  }

  /** Writes all of {@code bytes}. */
  public static void writeFully(FileChannel out, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      out.write(bytes);
    }
  }
}
