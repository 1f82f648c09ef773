// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;

/**
 * One line that a suite printed.
 *
 * @param name the case
 * @param threads the threads it ran on
 * @param value milliseconds, or mebibytes
 */
record Measured(String name, int threads, double value) {
  /** What is compared. */
  enum Quantity {
    /** The median time of one run. */
    TIME("median_ms", "ms"),
    /** The time of the fastest run. */
    BEST("best_ms", "ms"),
    /** The peak resident set beyond the process' own. */
    MEMORY("rss_mb", "MiB"),
    /** The peak of the tensors on a device that is not the CPU. */
    DEVICE_MEMORY("device_mb", "MiB"),
    /** What one run leaves on the Java heap. */
    GARBAGE("garbage_mb", "MiB");

    private final String key;
    private final String unit;

    Quantity(String key, String unit) {
      this.key = key;
      this.unit = unit;
    }

    String unit() {
      return unit;
    }
  }

  /**
   * The measured lines among those that a program printed.
   *
   * @throws Programs.Refusal if one cannot be read
   */
  static List<Measured> parse(List<String> lines, Quantity quantity) {
    return lines.stream()
        .filter(line -> line.startsWith("{"))
        .map(line -> parse(line, quantity))
        .toList();
  }

  private static Measured parse(String line, Quantity quantity) {
    try {
      JsonNode json = new ObjectMapper().readTree(line);
      return new Measured(
          json.required("name").asText(),
          json.required("threads").asInt(),
          json.required(quantity.key).doubleValue());
    } catch (JsonProcessingException | IllegalArgumentException e) {
      throw new Programs.Refusal("a suite printed \"" + line + "\", which is no result");
    }
  }
}
