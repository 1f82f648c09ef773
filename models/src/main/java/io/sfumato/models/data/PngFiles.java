// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import io.sfumato.tensor.io.AtomicFile;
import io.sfumato.tensor.io.TensorFileException;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.imageio.ImageIO;

/** Writes PNG files so that they appear whole or not at all. */
final class PngFiles {
  private PngFiles() {}

  /**
   * Writes or replaces a PNG file, creating its folder if need be.
   *
   * @throws UncheckedIOException if that fails; the old file is then untouched
   */
  static void write(Path file, BufferedImage image) {
    try {
      Path folder = file.toAbsolutePath().getParent();
      if (folder != null) {
        Files.createDirectories(folder);
      }
      ByteArrayOutputStream png = new ByteArrayOutputStream();
      if (!ImageIO.write(image, "png", png)) {
        throw new IOException("this Java has no PNG writer");
      }
      AtomicFile.write(file, out -> AtomicFile.writeFully(out, ByteBuffer.wrap(png.toByteArray())));
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be written: " + e.getMessage(), e);
    } catch (TensorFileException e) {
      throw new UncheckedIOException(e.getMessage(), new IOException(e));
    }
  }
}
