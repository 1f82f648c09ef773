// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.io.TensorFileException;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A training run on disk: what is trained, as others read it, and beside it what is needed to go
 * on. Of a diffusion model it is a pipeline folder as diffusers writes it, holding the averaged
 * weights:
 *
 * <pre>
 * model_index.json
 * scheduler/scheduler_config.json
 * unet/config.json, diffusion_pytorch_model.safetensors
 * training/state.json, weights.safetensors, optimizer.safetensors
 * </pre>
 *
 * <p>A new checkpoint is written beside the old one and takes its place when it is complete; a run
 * that is killed at any moment leaves one that can be read.
 */
public final class Checkpoint {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  private Checkpoint() {}

  /**
   * Where a run stands, and what it was started with.
   *
   * @param step optimiser steps done
   * @param seconds time spent training
   * @param settings what must be equal for the run to go on, by name
   * @param classNames the names of the classes
   */
  public record State(
      long step, double seconds, Map<String, String> settings, List<String> classNames) {
    /** Copies the collections. */
    public State {
      settings = Map.copyOf(settings);
      classNames = List.copyOf(classNames);
    }

    /** What differs from the settings of another run, in words. */
    public List<String> differences(Map<String, String> others) {
      List<String> differences = new ArrayList<>();
      others.forEach(
          (name, value) -> {
            String saved = settings.getOrDefault(name, "nothing");
            if (!saved.equals(value)) {
              differences.add(name + " was " + saved + " and is now " + value);
            }
          });
      return differences;
    }
  }

  /** Writes a checkpoint's files. */
  @FunctionalInterface
  public interface Contents {
    /**
     * Writes everything but {@code training/state.json}.
     *
     * @param folder an existing, empty folder
     */
    void write(Path folder);
  }

  /**
   * Replaces the checkpoint.
   *
   * @param folder the checkpoint's folder
   * @param state where the run stands
   * @param contents writes the rest
   * @throws TensorFileException if it cannot be written; the old one stays
   */
  public static void save(Path folder, State state, Contents contents) {
    Path fresh = folder.resolveSibling(folder.getFileName() + ".new");
    Path old = folder.resolveSibling(folder.getFileName() + ".old");
    try {
      delete(fresh);
      Files.createDirectories(fresh.resolve("training"));
      contents.write(fresh);
      ModelConfig.write(fresh.resolve("training/state.json"), toMap(state));
      if (Files.exists(folder)) { // else the old one is all there is, until the next line but two
        delete(old);
        Files.move(folder, old, StandardCopyOption.ATOMIC_MOVE);
      }
      Files.move(fresh, folder, StandardCopyOption.ATOMIC_MOVE);
      delete(old);
    } catch (IOException e) {
      deleteQuietly(fresh);
      throw new TensorFileException(
          folder, "cannot be written: " + e.getClass().getSimpleName() + ": " + e.getMessage(), e);
    } catch (TensorFileException e) {
      deleteQuietly(fresh);
      throw e;
    }
  }

  /** Makes room on a full disk; what is left is replaced by the next checkpoint. */
  private static void deleteQuietly(Path folder) {
    try {
      delete(folder);
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, folder + " is left: it is not a whole checkpoint", e);
    }
  }

  private static Map<String, Object> toMap(State state) {
    return Map.of(
        "step", state.step,
        "seconds", state.seconds,
        "settings", state.settings,
        "class_names", state.classNames);
  }

  /**
   * The folder to read: the checkpoint, or the one before it if a run was killed between two
   * renames.
   *
   * @return null if there is neither
   */
  public static @Nullable Path find(Path folder) {
    for (String suffix : List.of("", ".old")) {
      Path candidate = folder.resolveSibling(folder.getFileName() + suffix);
      if (Files.exists(candidate.resolve("training/state.json"))) {
        return candidate;
      }
    }
    return null;
  }

  /**
   * Reads where a run stands.
   *
   * @throws IllegalArgumentException if the file is missing or not valid
   */
  public static State readState(Path folder) {
    Path file = folder.resolve("training/state.json");
    JsonNode json = ModelConfig.read(file);
    Map<String, String> settings = new TreeMap<>();
    json.path("settings")
        .properties()
        .forEach(e -> settings.put(e.getKey(), e.getValue().asText()));
    List<String> names = new ArrayList<>();
    json.path("class_names").forEach(n -> names.add(n.asText()));
    if (!json.path("step").isIntegralNumber() || !json.path("seconds").isNumber()) {
      throw new IllegalArgumentException(file + ": step and seconds must be numbers");
    }
    return new State(
        json.get("step").longValue(), json.get("seconds").doubleValue(), settings, names);
  }

  private static void delete(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    Files.walkFileTree(
        folder,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path dir, @Nullable IOException failure)
              throws IOException {
            if (failure != null) {
              throw failure;
            }
            Files.delete(dir);
            return FileVisitResult.CONTINUE;
          }
        });
  }
}
