// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The folder of golden files: the system property {@code golden.dir}, or the module's own copy. */
final class Golden {
  private Golden() {}

  static Path folder() {
    String given = System.getProperty("golden.dir");
    if (given != null && !given.isEmpty()) {
      return Path.of(given);
    }
    return resource("/golden");
  }

  /** A file or folder of the test resources. */
  static Path resource(String name) {
    try {
      return Path.of(Golden.class.getResource(name).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Cases of this project's own scripts, whatever {@code golden.dir} is. */
  static Stream<Path> own(String kind) {
    try (Stream<Path> all = Files.list(Path.of("src/test/resources/golden", kind))) {
      List<Path> found = all.filter(Files::isDirectory).sorted().toList();
      assertTrue(!found.isEmpty(), "no cases of " + kind);
      return found.stream();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Folders below {@code kind} whose configuration is of a class; fails if there is none. */
  static List<Path> modelsOf(String kind, String className) {
    return modelsIn(folder().resolve(kind), className);
  }

  /** Folders in {@code parent} whose configuration is of a class; fails if there is none. */
  static List<Path> modelsIn(Path parent, String className) {
    try (Stream<Path> all = Files.list(parent)) {
      List<Path> found =
          all.filter(p -> Files.exists(p.resolve("config.json")))
              .filter(p -> className(p.resolve("config.json")).equals(className))
              .sorted()
              .toList();
      assertTrue(!found.isEmpty(), "no " + className + " in " + parent);
      return found;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String className(Path config) {
    JsonNode name = ModelConfig.read(config).get("_class_name");
    return name == null ? "" : name.asText();
  }

  /** Compares relative to the largest expected value. */
  static void assertClose(String what, Tensor expected, Tensor actual, double relative) {
    assertEquals(expected.shape(), actual.shape(), what);
    assertClose(what, expected.toDoubleArray(), actual.toDoubleArray(), relative);
  }

  /** Compares relative to the largest expected value. */
  static void assertClose(String what, double[] expected, double[] actual, double relative) {
    assertClose(what, expected, actual, relative, 1e-12);
  }

  /** Compares relative to the largest expected value, or to {@code floor} if that is larger. */
  static void assertClose(
      String what, double[] expected, double[] actual, double relative, double floor) {
    assertEquals(expected.length, actual.length, what);
    double largest = floor;
    for (double v : expected) {
      largest = Math.max(largest, Math.abs(v));
    }
    for (int i = 0; i < expected.length; i++) {
      double error = Math.abs(expected[i] - actual[i]) / largest;
      assertTrue(
          error <= relative,
          what
              + "["
              + i
              + "]: expected "
              + expected[i]
              + " but was "
              + actual[i]
              + ", "
              + error
              + " of the largest value "
              + largest);
    }
  }
}
