// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.tensor.io.TensorSource;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What the folder of a training run holds; parts that are missing are empty, and those that cannot
 * be read are told in {@code problems}.
 *
 * @param folder the run's folder
 * @param metrics its numbers
 * @param state of the newest checkpoint; null without one
 * @param environment what {@link Environment} wrote, by name
 * @param config the text of {@code config.yaml}; empty without one
 * @param previews pictures drawn during training, in the order of the steps
 * @param samples pictures drawn at the end, by name
 * @param profile time and bytes of modules
 * @param lineage checkpoints, the newest first
 * @param parameters values that are trained; -1 if not known
 * @param problems what could not be read, in words
 */
record RunData(
    Path folder,
    Metrics metrics,
    Checkpoint.@Nullable State state,
    Map<String, String> environment,
    String config,
    List<Path> previews,
    List<Path> samples,
    List<ModuleTime> profile,
    List<CheckpointLine> lineage,
    long parameters,
    List<String> problems) {
  private static final Pattern BLOCK = Pattern.compile("[^.]+(\\.\\d+)?");

  /** The own ops of one module in the steps that were traced, without those of modules in it. */
  record ModuleTime(String module, long calls, double seconds, long bytes) {}

  /** Sums by block: the first name of a path, with the number behind it if there is one. */
  static List<ModuleTime> blocks(List<ModuleTime> modules) {
    Map<String, ModuleTime> sums = new TreeMap<>();
    for (ModuleTime m : modules) {
      Matcher block = BLOCK.matcher(m.module);
      String name = block.lookingAt() ? block.group() : m.module;
      sums.merge(
          name,
          new ModuleTime(name, m.calls, m.seconds, m.bytes),
          (x, y) ->
              new ModuleTime(name, x.calls + y.calls, x.seconds + y.seconds, x.bytes + y.bytes));
    }
    return sums.values().stream()
        .sorted(Comparator.comparingDouble(ModuleTime::seconds).reversed())
        .toList();
  }

  /** A checkpoint and the one before it. */
  record CheckpointLine(String where, long step, String id, String parent, long bytes) {}

  /** The folder's name. */
  String name() {
    Path real = folder.toAbsolutePath().normalize();
    return real.getFileName() == null ? real.toString() : real.getFileName().toString();
  }

  /**
   * Reads a folder.
   *
   * @throws IllegalArgumentException if it is none, or holds nothing of a run
   */
  static RunData read(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new IllegalArgumentException(folder + ": there is no such folder");
    }
    List<String> problems = new ArrayList<>();
    Metrics metrics = Metrics.read(folder);
    problems.addAll(metrics.problems());
    Path checkpoint = folder.resolve("checkpoint");
    Checkpoint.State state = null;
    if (Files.exists(checkpoint.resolve("training/state.json"))) {
      try {
        state = Checkpoint.readState(checkpoint);
      } catch (RuntimeException e) {
        problems.add("the checkpoint is left out: " + e.getMessage());
      }
    }
    RunData run =
        new RunData(
            folder,
            metrics,
            state,
            Environment.read(folder, problems),
            text(folder.resolve("config.yaml"), problems),
            pictures(folder.resolve("previews"), problems),
            samples(folder),
            profile(folder.resolve("profile.json"), problems),
            lineage(folder, problems),
            parameters(checkpoint, problems),
            problems);
    if (metrics.series().isEmpty()
        && state == null
        && run.config.isEmpty()
        && run.samples.isEmpty()
        && run.previews.isEmpty()) {
      throw new IllegalArgumentException(
          folder
              + ": is no folder of a run: there is no metrics.jsonl, loss.csv, config.yaml,"
              + " checkpoint, samples.png or previews in it");
    }
    return run;
  }

  private static String text(Path file, List<String> problems) {
    try {
      return Files.isRegularFile(file)
          ? new String(Files.readAllBytes(file), StandardCharsets.UTF_8)
          : "";
    } catch (IOException e) {
      problems.add(file.getFileName() + " cannot be read: " + e);
      return "";
    }
  }

  private static List<Path> pictures(Path folder, List<String> problems) {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> all = Files.list(folder)) {
      return all.filter(p -> p.toString().endsWith(".png")).sorted().toList();
    } catch (IOException e) {
      problems.add("previews cannot be listed: " + e);
      return List.of();
    }
  }

  /** Samples of the run, and of the stages and comparisons that examples draw into folders. */
  private static List<Path> samples(Path folder) {
    return Stream.of(
            "samples.png",
            "reconstructions.png",
            "interpolation.png",
            "before/samples.png",
            "after/samples.png",
            "off/samples.png")
        .map(folder::resolve)
        .filter(Files::isRegularFile)
        .toList();
  }

  private static List<ModuleTime> profile(Path file, List<String> problems) {
    List<ModuleTime> modules = new ArrayList<>();
    if (Files.isRegularFile(file)) {
      try {
        for (JsonNode module : new ObjectMapper().readTree(Files.readAllBytes(file))) {
          modules.add(
              new ModuleTime(
                  module.path("module").asText(),
                  module.path("calls").asLong(),
                  module.path("seconds").asDouble(),
                  module.path("bytes").asLong()));
        }
      } catch (IOException | RuntimeException e) {
        problems.add("profile.json is left out: " + e.getMessage());
      }
    }
    modules.sort(Comparator.comparingDouble(ModuleTime::seconds).reversed());
    return modules;
  }

  private static List<CheckpointLine> lineage(Path folder, List<String> problems) {
    List<Path> folders = new ArrayList<>(List.of(folder.resolve("checkpoint")));
    folders.add(folder.resolve("checkpoint-best"));
    Path history = folder.resolve("checkpoint-history");
    if (Files.isDirectory(history)) {
      try (Stream<Path> older = Files.list(history)) {
        older.sorted().forEach(folders::add);
      } catch (IOException e) {
        problems.add("checkpoint-history cannot be listed: " + e);
      }
    }
    List<CheckpointLine> lines = new ArrayList<>();
    for (Path checkpoint : folders) {
      Path file = checkpoint.resolve("training/manifest.json");
      if (Files.isRegularFile(file)) {
        try {
          JsonNode json = ModelConfig.read(file);
          long bytes = 0;
          for (JsonNode entry : json.path("files")) {
            bytes += entry.path("bytes").asLong();
          }
          lines.add(
              new CheckpointLine(
                  folder.relativize(checkpoint).toString(),
                  json.path("step").asLong(-1),
                  json.path("id").asText(""),
                  json.path("parent").isTextual() ? json.path("parent").textValue() : "",
                  bytes));
        } catch (RuntimeException e) {
          problems.add(folder.relativize(file) + " is left out: " + e.getMessage());
        }
      }
    }
    lines.sort(Comparator.comparingLong(CheckpointLine::step).reversed());
    return lines;
  }

  private static long parameters(Path checkpoint, List<String> problems) {
    Path file = checkpoint.resolve("training/weights.safetensors");
    if (!Files.isRegularFile(file)) {
      return -1;
    }
    try (TensorSource weights = TensorSource.open(file)) {
      return weights.entries().values().stream()
          .mapToLong(e -> e.dims().stream().reduce(1L, (a, b) -> a * b))
          .sum();
    } catch (RuntimeException e) {
      problems.add("the weights are not counted: " + e.getMessage());
      return -1;
    }
  }

  /** The settings that must be equal for a run to go on. */
  Map<String, String> settings() {
    return state == null ? Map.of() : new TreeMap<>(state.settings());
  }
}
