// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.cpu.Parallel;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.OffsetDateTime;
import java.time.ZoneId;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** What a run runs on, kept in {@code environment.json} for its report. */
public final class Environment {
  private static final String NAME = "environment.json";
  private static final Path CPUS = Path.of("/proc/cpuinfo");

  private Environment() {}

  /**
   * Writes the file.
   *
   * @param folder the run's folder
   * @param device where it computes
   * @param version of Sfumato
   */
  public static void write(Path folder, Device device, String version) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put(
        "started",
        OffsetDateTime.now(ZoneId.systemDefault()).truncatedTo(ChronoUnit.SECONDS).toString());
    json.put("sfumato", version);
    json.put("java", Runtime.version() + ", " + System.getProperty("java.vm.name"));
    json.put(
        "system",
        Stream.of("os.name", "os.version", "os.arch")
            .map(System::getProperty)
            .reduce((a, b) -> a + " " + b)
            .orElse(""));
    json.put("device", device.toString());
    json.put("processor", processor());
    json.put("cores", Runtime.getRuntime().availableProcessors());
    json.put("threads", Parallel.threads());
    json.put("heap_bytes", Runtime.getRuntime().maxMemory());
    if (ManagementFactory.getOperatingSystemMXBean()
        instanceof com.sun.management.OperatingSystemMXBean system) {
      json.put("memory_bytes", system.getTotalMemorySize());
    }
    ModelConfig.write(folder.resolve(NAME), json);
  }

  private static String processor() {
    try (Stream<String> lines = Files.lines(CPUS)) {
      return lines
          .filter(line -> line.startsWith("model name"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst()
          .orElse(System.getProperty("os.arch"));
    } catch (IOException | RuntimeException e) {
      return System.getProperty("os.arch"); // no Linux: the architecture has to do
    }
  }

  /** What was written, by name; empty if there is nothing. */
  static Map<String, String> read(Path folder, List<String> problems) {
    Map<String, String> values = new LinkedHashMap<>();
    Path file = folder.resolve(NAME);
    if (Files.isRegularFile(file)) {
      try {
        JsonNode json = ModelConfig.read(file);
        json.properties().forEach(e -> values.put(e.getKey(), e.getValue().asText()));
      } catch (RuntimeException e) {
        problems.add(NAME + " is left out: " + e.getMessage());
      }
    }
    return values;
  }
}
