// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.io.DeferredWrites;
import io.sfumato.tensor.io.TensorFileException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
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
 * training/state.json, weights.safetensors, optimizer.safetensors, manifest.json
 * </pre>
 *
 * <p>A new checkpoint is written beside the old one and takes its place when it is complete; a run
 * that is killed at any moment leaves one that can be read. Older ones stay in {@code
 * checkpoint-history/step-…}, as many as one likes. The manifest tells whether a file was damaged
 * since; then the newest older checkpoint is read instead, and a log line says so.
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
   * @param bestLoss the lowest validation loss so far, or null if none was taken
   */
  public record State(
      long step,
      double seconds,
      Map<String, String> settings,
      List<String> classNames,
      @Nullable Double bestLoss) {
    /** Without a validation loss. */
    public State(long step, double seconds, Map<String, String> settings, List<String> classNames) {
      this(step, seconds, settings, classNames, null);
    }

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

  /** Replaces the checkpoint and keeps none of the older ones. */
  public static void save(Path folder, State state, Contents contents) {
    save(folder, 0, state, contents);
  }

  /**
   * Replaces the checkpoint.
   *
   * @param folder the checkpoint's folder
   * @param keep how many older checkpoints stay
   * @param state where the run stands
   * @param contents writes the rest
   * @throws TensorFileException if it cannot be written; the old one stays
   */
  public static void save(Path folder, int keep, State state, Contents contents) {
    prepare(folder, keep, state, contents, false).finish();
  }

  /**
   * Begins to replace the checkpoint: everything is written beside the old one, but tensors are
   * only copied if they shall be written later.
   *
   * @param later whether {@link Prepared#finish} writes the tensors, perhaps on another thread
   * @throws TensorFileException if it cannot be written; the old one stays
   */
  static Prepared prepare(Path folder, int keep, State state, Contents contents, boolean later) {
    Path fresh = fresh(folder);
    try {
      delete(fresh);
      Files.createDirectories(fresh.resolve("training"));
      ModelConfig.write(fresh.resolve("training/state.json"), toMap(state));
      Runnable write = () -> contents.write(fresh);
      DeferredWrites writes = null;
      if (later) {
        writes = DeferredWrites.of(write);
      } else {
        write.run();
      }
      return new Prepared(folder, keep, state.step, writes);
    } catch (IOException e) {
      deleteQuietly(fresh);
      throw failure(folder, e);
    } catch (TensorFileException e) {
      deleteQuietly(fresh);
      throw e;
    }
  }

  private static TensorFileException failure(Path folder, IOException e) {
    return new TensorFileException(
        folder, "cannot be written: " + e.getClass().getSimpleName() + ": " + e.getMessage(), e);
  }

  /** A checkpoint that is not yet in its place. */
  record Prepared(Path folder, int keep, long step, @Nullable DeferredWrites writes) {
    /**
     * Writes what was put off, describes all files and puts the checkpoint into its place.
     *
     * @throws TensorFileException if it cannot be written; the old one stays
     */
    void finish() {
      Path fresh = fresh(folder);
      try {
        if (writes != null) {
          writes.write();
        }
        Manifest before = described(folder);
        Manifest.write(fresh, before == null ? null : before.id(), step);
        if (Files.exists(folder)) { // from here to the next rename the fresh one is the newest
          Path older = history(folder).resolve(before == null ? "damaged" : name(before.step()));
          Files.createDirectories(history(folder));
          delete(older);
          Files.move(folder, older, StandardCopyOption.ATOMIC_MOVE);
        }
        Files.move(fresh, folder, StandardCopyOption.ATOMIC_MOVE);
        prune(folder, keep, step);
      } catch (IOException e) {
        deleteQuietly(fresh);
        throw failure(folder, e);
      } catch (TensorFileException e) {
        deleteQuietly(fresh);
        throw e;
      }
    }
  }

  private static Path fresh(Path folder) {
    return folder.resolveSibling(folder.getFileName() + ".new");
  }

  private static Path history(Path folder) {
    return folder.resolveSibling(folder.getFileName() + "-history");
  }

  private static String name(long step) {
    return String.format(Locale.ROOT, "step-%09d", step);
  }

  private static @Nullable Manifest described(Path folder) {
    try {
      return Manifest.read(folder);
    } catch (IllegalArgumentException e) {
      return null; // there is none, or it is damaged
    }
  }

  /** Older checkpoints, the newest first. */
  private static List<Path> older(Path folder) {
    if (!Files.isDirectory(history(folder))) {
      return List.of();
    }
    try (Stream<Path> all = Files.list(history(folder))) {
      return all.filter(p -> p.getFileName().toString().startsWith("step-"))
          .sorted(Comparator.reverseOrder())
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(history(folder) + ": cannot be listed", e);
    }
  }

  /** Older ones with as many steps or more are of a run that was started here before. */
  private static void prune(Path folder, int keep, long step) throws IOException {
    int kept = 0;
    for (Path path : older(folder)) {
      boolean ofThisRun = path.getFileName().toString().compareTo(name(step)) < 0;
      if (ofThisRun && kept < keep) {
        kept++;
      } else {
        delete(path);
      }
    }
    if (keep == 0) {
      delete(history(folder));
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
    Map<String, Object> map = new TreeMap<>();
    map.put("step", state.step);
    map.put("seconds", state.seconds);
    map.put("settings", state.settings);
    map.put("class_names", state.classNames);
    if (state.bestLoss != null) {
      map.put("best_loss", state.bestLoss);
    }
    return map;
  }

  /**
   * The folder to read: the checkpoint, or, if it is damaged, the newest older one that is whole. A
   * complete one that a killed run left under its temporary name gets its own.
   *
   * @return null if there is none
   * @throws IllegalArgumentException if there are some but none is whole, naming what is wrong
   */
  public static @Nullable Path find(Path folder) {
    if (!Files.exists(folder) && Manifest.problem(fresh(folder)) == null) {
      try {
        Files.move(fresh(folder), folder, StandardCopyOption.ATOMIC_MOVE);
      } catch (IOException e) {
        return fresh(folder); // a folder that cannot be written can still be read
      }
    }
    List<Path> candidates = new ArrayList<>(List.of(folder));
    candidates.addAll(older(folder));
    List<String> problems = new ArrayList<>();
    for (Path candidate : candidates) {
      if (!Files.exists(candidate)) {
        continue;
      }
      String problem = Manifest.problem(candidate);
      if (problem == null) {
        if (!problems.isEmpty()) {
          LOG.log(
              System.Logger.Level.WARNING,
              String.join("; ", problems) + "; reading " + candidate + " instead");
        }
        return candidate;
      }
      problems.add(candidate + ": " + problem);
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException("no checkpoint is whole: " + String.join("; ", problems));
    }
    return null;
  }

  /**
   * What is wrong with a checkpoint, in words: a file that is missing, or other than it was
   * written.
   *
   * @return null if it is whole
   */
  public static @Nullable String problem(Path folder) {
    return Manifest.problem(folder);
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
        json.get("step").longValue(),
        json.get("seconds").doubleValue(),
        settings,
        names,
        json.path("best_loss").isNumber() ? (Double) json.get("best_loss").doubleValue() : null);
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
