// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/** Files that the tests of this package share. */
final class TensorFiles {
  private TensorFiles() {}

  /** A file that the Python library made, see {@code src/test/golden/make_safetensors.py}. */
  static Path golden(String name) {
    URL url = TensorFiles.class.getResource("/golden/safetensors/" + name);
    try {
      return Path.of(Objects.requireNonNull(url, name).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Writes a file of the format: length, header, {@code bytes} zeros. */
  static Path write(Path file, String header, int bytes) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer all = ByteBuffer.allocate(8 + json.length + bytes).order(ByteOrder.LITTLE_ENDIAN);
    return Files.write(file, all.putLong(json.length).put(json).array());
  }

  /** The names of all files in a folder, hidden ones too. */
  static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    }
  }

  /** Checks that a message names the file and says each of {@code parts}. */
  static void assertSays(RuntimeException e, Object file, String... parts) {
    String message = String.valueOf(e.getMessage());
    for (String part : Stream.concat(Stream.of(file.toString()), Stream.of(parts)).toList()) {
      assertEquals(true, message.contains(part), "'" + part + "' in: " + message);
    }
  }
}
