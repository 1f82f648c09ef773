// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Pictures of what a model can do so far, {@code previews/step-….png}. */
final class Previews {
  private final Path folder;
  private final @Nullable Integer every;
  private final TrainingRun.@Nullable Preview drawing;

  Previews(Path folder, @Nullable Integer every, TrainingRun.@Nullable Preview drawing) {
    this.folder = folder;
    this.every = every;
    this.drawing = drawing;
  }

  /** Draws if it is time, and says where to; null if there is no picture. */
  @Nullable Path after(long step) {
    if (every == null || drawing == null || step % every != 0) {
      return null;
    }
    TrainingFiles.makeFolder(folder);
    Path png = folder.resolve(name(step));
    drawing.draw(png);
    return Files.exists(png) ? png : null;
  }

  /** Removes those of steps that are to be done again, or of another run that was here before. */
  void dropAfter(long step) {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (Stream<Path> all = Files.list(folder)) {
      List<Path> later =
          all.filter(p -> p.getFileName().toString().matches("step-\\d{9}\\.png"))
              .filter(p -> p.getFileName().toString().compareTo(name(step)) > 0)
              .toList();
      for (Path p : later) {
        Files.delete(p);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(folder + ": old pictures cannot be removed", e);
    }
  }

  private static String name(long step) {
    return String.format(Locale.ROOT, "step-%09d.png", step);
  }
}
