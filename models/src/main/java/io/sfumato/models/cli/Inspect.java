// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.adapter.AdapterSummary;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * Tells what a file or folder holds: safetensors of any kind, adapters in any dialect, models and
 * pipelines of diffusers, adapters of PEFT, checkpoints of a training run. Reads headers only, but
 * for {@code --statistics}.
 */
@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Tells what a safetensors file, a model or pipeline folder, an adapter or a training run"
            + " holds.")
public final class Inspect implements Callable<Integer> {
  private static final String INDEX = ".safetensors.index.json";

  @Parameters(arity = "1..*", paramLabel = "PATH", description = "Files or folders.")
  private List<Path> paths = List.of();

  @Option(names = "--tensors", description = "List every tensor with its type and shape.")
  private boolean tensors;

  @Option(
      names = "--statistics",
      description =
          "List every tensor with its least, mean and largest value, and how many are not finite;"
              + " reads them all.")
  private boolean statistics;

  private Inspect() {}

  /**
   * Runs the program and exits: 0 when done, 2 if something cannot be read.
   *
   * @param args command-line options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs the program and returns its exit code. */
  static int run(String... args) {
    return Program.run(new Inspect(), args);
  }

  @Override
  public Integer call() {
    for (Path path : paths) {
      require(Files.exists(path), path + ": there is no such file or folder");
      if (Files.isDirectory(path)) {
        folder(path, "");
      } else {
        file(path, "");
      }
    }
    return 0;
  }

  // ---- folders

  private void folder(Path folder, String indent) {
    Path index = folder.resolve("model_index.json");
    if (Files.exists(folder.resolve("training/state.json"))) {
      training(folder, indent);
    }
    if (Files.exists(index)) {
      pipeline(folder, ModelConfig.read(index), indent);
    } else if (Files.exists(folder.resolve("adapter_config.json"))) {
      adapter(folder, indent);
    } else if (Files.exists(folder.resolve("config.json"))) {
      model(folder, ModelConfig.read(folder.resolve("config.json")), indent);
    } else if (Files.exists(folder.resolve("checkpoint"))) {
      say("%s%s: a training run", indent, folder);
      folder(folder.resolve("checkpoint"), indent + "  ");
    } else {
      List<Path> files = weights(folder);
      require(
          !files.isEmpty(),
          folder
              + ": holds no model_index.json, config.json, adapter_config.json, checkpoint or"
              + " safetensors file");
      files.forEach(file -> file(file, indent));
    }
  }

  private void training(Path folder, String indent) {
    Checkpoint.State state = Checkpoint.readState(folder);
    String problem = Checkpoint.problem(folder);
    say(
        "%s%s: a checkpoint after %,d steps and %,.0f s, %s",
        indent,
        folder,
        state.step(),
        state.seconds(),
        problem == null ? "whole: its files have their checksums" : "NOT whole: " + problem);
  }

  private void pipeline(Path folder, JsonNode index, String indent) {
    say("%s%s: a pipeline, %s", indent, folder, index.path("_class_name").asText("of no class"));
    index
        .properties()
        .forEach(
            e -> {
              Path component = folder.resolve(e.getKey());
              if (!e.getKey().startsWith("_") && Files.isDirectory(component)) {
                Path config = component.resolve("config.json");
                if (Files.exists(config)) {
                  model(component, ModelConfig.read(config), indent + "  ");
                } else {
                  say("%s  %s: %s", indent, component, e.getValue().path(1).asText());
                }
              }
            });
  }

  private void model(Path folder, JsonNode config, String indent) {
    JsonNode architectures = config.path("architectures");
    String name = config.path("_class_name").asText(architectures.path(0).asText("a model"));
    say("%s%s: %s", indent, folder, name);
    weights(folder).forEach(file -> file(file, indent + "  "));
  }

  private void adapter(Path folder, String indent) {
    JsonNode config = ModelConfig.read(folder.resolve("adapter_config.json"));
    say(
        "%s%s: an adapter of PEFT, %s%s%s",
        indent,
        folder,
        config.path("peft_type").asText("of no kind"),
        config.has("r") ? ", rank " + config.get("r") : "",
        config.has("target_modules") ? ", target_modules " + config.get("target_modules") : "");
    weights(folder).forEach(file -> file(file, indent + "  "));
  }

  /** The weight files of a folder; shards are reached through their index. */
  private static List<Path> weights(Path folder) {
    try (Stream<Path> all = Files.list(folder)) {
      List<Path> files = all.sorted().toList();
      List<String> indexed =
          files.stream()
              .map(f -> f.getFileName().toString())
              .filter(n -> n.endsWith(INDEX))
              .map(n -> n.substring(0, n.length() - INDEX.length()))
              .toList();
      return files.stream()
          .filter(f -> f.toString().endsWith(".safetensors") || f.toString().endsWith(INDEX))
          .filter(f -> indexed.stream().noneMatch(s -> isShard(f.getFileName().toString(), s)))
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(folder + ": cannot be listed", e);
    }
  }

  private static boolean isShard(String name, String stem) {
    return name.startsWith(stem + "-") && name.endsWith(".safetensors");
  }

  // ---- files

  private void file(Path file, String indent) {
    require(
        file.toString().endsWith(".safetensors") || file.toString().endsWith(INDEX),
        file
            + ": is no safetensors file; files with other endings (.bin, .ckpt, .pt) may run code"
            + " when read: convert them where they came from");
    try (TensorSource source = TensorSource.open(file)) {
      Collection<TensorEntry> entries = source.entries().values();
      long values = entries.stream().mapToLong(Inspect::values).sum();
      long bytes = entries.stream().mapToLong(TensorEntry::bytes).sum();
      Map<String, Long> types =
          entries.stream()
              .collect(
                  Collectors.groupingBy(TensorEntry::type, TreeMap::new, Collectors.counting()));
      say(
          "%s%s: tensors %,d, values %,d, bytes %,d; %s",
          indent, file.getFileName(), entries.size(), values, bytes, counts(types));
      describe(source, indent + "  ");
      if (tensors || statistics) {
        entries.forEach(e -> tensor(source, e, indent + "  "));
      }
    }
  }

  private static long values(TensorEntry entry) {
    return entry.dims().stream().reduce(1L, (a, b) -> a * b);
  }

  private static String counts(Map<String, Long> types) {
    return types.entrySet().stream()
        .map(e -> e.getValue() + " of " + e.getKey())
        .collect(Collectors.joining(", "));
  }

  private static void describe(TensorSource source, String indent) {
    AdapterSummary adapter = AdapterSummary.of(source);
    if (adapter != null) {
      say(
          "%sadapters in the dialect of %s: %s%s",
          indent,
          adapter.dialect().label(),
          adapter.kinds().entrySet().stream()
              .sorted(Map.Entry.comparingByKey())
              .map(e -> e.getKey() + " on " + e.getValue() + " layers")
              .collect(Collectors.joining(", ")),
          adapter.ranks().isEmpty()
              ? ""
              : "; ranks "
                  + adapter.ranks().entrySet().stream()
                      .map(e -> e.getKey() + " (" + e.getValue() + ")")
                      .collect(Collectors.joining(", ")));
    } else if (source.entries().keySet().stream()
        .anyMatch(key -> key.startsWith("model.diffusion_model."))) {
      say("%sa single-file checkpoint of latent diffusion", indent);
    }
    new TreeMap<>(source.metadata())
        .forEach((key, value) -> say("%smetadata %s = %s", indent, key, shortened(value)));
  }

  private static String shortened(String value) {
    String line = value.replaceAll("\\s+", " ");
    return line.length() <= 160 ? line : line.substring(0, 157) + "…";
  }

  private void tensor(TensorSource source, TensorEntry entry, String indent) {
    String line = indent + entry.name() + " " + entry.type() + " " + entry.dims();
    if (!statistics || entry.dtype().isEmpty() || values(entry) == 0) {
      say("%s", line);
      return;
    }
    try (Scope scope = Scope.open()) {
      Tensor tensor = source.read(entry.name());
      double[] all = tensor.toDoubleArray();
      double least = Double.POSITIVE_INFINITY;
      double largest = Double.NEGATIVE_INFINITY;
      double sum = 0;
      long finite = 0;
      for (double value : all) {
        if (Double.isFinite(value)) {
          least = Math.min(least, value);
          largest = Math.max(largest, value);
          sum += value;
          finite++;
        }
      }
      String wrong = finite == all.length ? "" : ", " + (all.length - finite) + " NOT FINITE";
      say("%s: %.6g … %.6g, mean %.6g%s", line, least, largest, sum / finite, wrong);
    }
  }
}
