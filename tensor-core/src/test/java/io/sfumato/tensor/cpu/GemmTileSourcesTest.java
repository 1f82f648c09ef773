// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The unrolled tiles are what their generator writes; the message of a failure says how to. */
class GemmTileSourcesTest {
  private static final Path GENERATOR = Path.of("src/codegen/GemmTileGenerator.java");
  private static final Path SOURCES = Path.of("src/main/java/io/sfumato/tensor/cpu/simd");

  @Test
  void generatedTilesAreUpToDate(@TempDir Path directory) throws Exception {
    Path java = Path.of(System.getProperty("java.home"), "bin", "java");
    List<String> command = List.of(java.toString(), GENERATOR.toString(), directory.toString());
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    assertEquals(0, process.waitFor(), "exit status of " + command);
    assertEquals(tiles(SOURCES), tiles(directory), "the set of tiles");
    for (String name : tiles(directory)) {
      assertEquals(
          Files.readString(directory.resolve(name)),
          Files.readString(SOURCES.resolve(name)),
          name + " differs; in tensor-core run: java " + GENERATOR + " " + SOURCES);
    }
  }

  private static List<String> tiles(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.matches("Tile\\d.*\\.java"))
          .sorted()
          .toList();
    }
  }
}
