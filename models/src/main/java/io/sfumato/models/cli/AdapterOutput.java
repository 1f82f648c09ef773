// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static io.sfumato.models.cli.Program.require;

import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.AdapterWriter;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import picocli.CommandLine.Option;

/** The options of examples that read adapters and write one. */
final class AdapterOutput {
  /** Whose files are written. */
  enum Format {
    peft,
    diffusers,
    kohya
  }

  @Option(
      names = "--format",
      description =
          "${COMPLETION-CANDIDATES}: a folder as PEFT reads it,"
              + " pytorch_lora_weights.safetensors, or adapter.safetensors with kohya's names.",
      defaultValue = "peft")
  private Format format = Format.peft;

  @Option(
      names = "--dtype",
      description = "Type of the adapter's tensors: f32, f16 or bf16.",
      defaultValue = "f32")
  private String dtype = "f32";

  @Option(names = "--out", description = "Folder for the result.", defaultValue = "out")
  private Path out = Path.of("out");

  /** The folder for the result, made if missing. */
  Path folder() {
    try {
      return Files.createDirectories(out);
    } catch (IOException e) {
      throw new UncheckedIOException("--out " + out + ": cannot be written", e);
    }
  }

  /** The type of the adapter's tensors. */
  DType dtype() {
    return Program.floatingType(dtype);
  }

  /** Refuses an {@code --out} that holds what is read. */
  void requireNot(Path input) {
    require(
        !out.toAbsolutePath().normalize().equals(input.toAbsolutePath().normalize()),
        "--out " + out + " must not be the folder that is read");
  }

  /** Writes an adapter, and returns where to. */
  Path write(AdapterModel model, AdapterSet adapter) {
    DType type = dtype();
    Path folder = folder();
    return switch (format) {
      case peft -> {
        PeftFolder.save(adapter, type, folder);
        yield folder;
      }
      case diffusers -> {
        Path file = folder.resolve("pytorch_lora_weights.safetensors");
        AdapterWriter.saveDiffusers(adapter, model.component(), type, file);
        yield file;
      }
      case kohya -> {
        Path file = folder.resolve("adapter.safetensors");
        AdapterWriter.saveKohya(
            adapter, model.component(), AdapterWriter.kohyaNames(model.module()), type, file);
        yield file;
      }
    };
  }
}
