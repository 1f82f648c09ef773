// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Rules that are about source files, of all modules. */
final class SourcesTest {
  private static final int MAX_LINES = 500;
  private static final List<String> MODULES =
      List.of("tensor-core", "autograd", "cuda-kernels", "models", "benchmarks");

  @Test
  void noMainSourceIsLongerThan500Lines() throws IOException {
    List<String> tooLong = new ArrayList<>();
    for (Path file : mainSources(".java", ".cu", ".cuh")) {
      long lines;
      try (Stream<String> text = Files.lines(file)) {
        lines = text.count();
      }
      if (lines > MAX_LINES) {
        tooLong.add(root().relativize(file) + ": " + lines + " lines");
      }
    }
    assertEquals(List.of(), tooLong);
  }

  @Test
  void everyPackageIsDescribedAndNullMarked() throws IOException {
    TreeSet<String> faults = new TreeSet<>();
    for (Path file : mainSources(".java")) {
      Path description = file.resolveSibling("package-info.java");
      if (file.endsWith("module-info.java")) {
        continue;
      }
      if (!Files.exists(description) || !Files.readString(description).contains("@NullMarked")) {
        faults.add(root().relativize(file.getParent()).toString());
      }
    }
    assertEquals(List.of(), List.copyOf(faults));
  }

  private static List<Path> mainSources(String... endings) throws IOException {
    List<Path> found = new ArrayList<>();
    for (String module : MODULES) {
      Path folder = root().resolve(module).resolve("src/main");
      if (Files.isDirectory(folder)) {
        try (Stream<Path> files = Files.walk(folder)) {
          files
              .filter(file -> Stream.of(endings).anyMatch(file.toString()::endsWith))
              .sorted()
              .forEach(found::add);
        } catch (UncheckedIOException e) {
          throw e.getCause();
        }
      }
    }
    assertFalse(found.isEmpty(), "no sources under " + root());
    return found;
  }

  /** The root of the repository: tests run in the folder of their module. */
  private static Path root() {
    return Path.of("").toAbsolutePath().getParent();
  }
}
