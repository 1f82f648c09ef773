// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options of programs that read the model that adapters are made for. */
final class BaseModel {
  @Option(
      names = "--base",
      required = true,
      description = "The model: its folder, or a pipeline's.")
  private Path base = Path.of("");

  @Option(
      names = "--component",
      paramLabel = "NAME",
      description =
          "The model's folder in a pipeline: text_encoder, text_encoder_2, …; unet or transformer"
              + " if absent.")
  private @Nullable String component;

  /** The folder that was given. */
  Path path() {
    return base;
  }

  /** Opens the model. */
  AdapterModel open() {
    return open(base);
  }

  /** Opens the same component of another folder. */
  AdapterModel open(Path other) {
    return AdapterModel.open(other, component);
  }
}
