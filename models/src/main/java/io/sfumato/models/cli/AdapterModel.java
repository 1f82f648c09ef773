// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.adapter.AdapterFile;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.WordEncoder;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DCondition;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A model that adapters are made for, read from its folder or from a pipeline's.
 *
 * @param module the model
 * @param component what adapter files call it
 * @param save writes its folder
 */
record AdapterModel(Module module, AdapterFile.Component component, Consumer<Path> save)
    implements AutoCloseable {
  private static final List<String> ROLES = List.of("unet", "transformer");

  /**
   * Opens a model by the class that its {@code config.json} names.
   *
   * @param given a model folder, or a pipeline's
   * @param role the folder in the pipeline, such as {@code text_encoder}; null for its U-Net or
   *     transformer
   */
  static AdapterModel open(Path given, @Nullable String role) {
    Path folder = given;
    if (!Files.exists(given.resolve("config.json"))) {
      List<String> roles = role == null ? ROLES : List.of(role);
      folder =
          roles.stream()
              .map(given::resolve)
              .filter(f -> Files.exists(f.resolve("config.json")))
              .findFirst()
              .orElseThrow(
                  () ->
                      new IllegalArgumentException(
                          given
                              + ": holds no model: there is no config.json, nor one in "
                              + String.join(" or ", roles)));
    }
    JsonNode config = ModelConfig.read(folder.resolve("config.json"));
    String name = config.path("_class_name").asText(config.path("architectures").path(0).asText());
    return switch (name) {
      case "UNet2DModel" -> {
        UNet2D unet = UNet2D.open(folder);
        yield new AdapterModel(unet, AdapterFile.Component.UNET, unet::save);
      }
      case "UNet2DConditionModel" -> {
        UNet2DCondition unet = UNet2DCondition.open(folder);
        yield new AdapterModel(unet, AdapterFile.Component.UNET, unet::save);
      }
      case "DiTTransformer2DModel", "DiT" -> {
        Dit dit = Dit.open(folder);
        yield new AdapterModel(dit, AdapterFile.Component.TRANSFORMER, dit::save);
      }
      case "CLIPTextModel", "CLIPTextModelWithProjection" -> {
        CLIPTextModel text = CLIPTextModel.open(folder);
        yield new AdapterModel(text, textEncoder(folder), text::save);
      }
      case "WordEncoder" -> {
        WordEncoder words = WordEncoder.open(folder);
        yield new AdapterModel(words, AdapterFile.Component.TEXT_ENCODER, words::save);
      }
      default ->
          throw new IllegalArgumentException(
              folder.resolve("config.json")
                  + ": adapters of "
                  + (name.isEmpty() ? "a model without a class name" : name)
                  + " are not known; those of UNet2DModel, UNet2DConditionModel,"
                  + " DiTTransformer2DModel, DiT, CLIPTextModel, CLIPTextModelWithProjection and"
                  + " WordEncoder are");
    };
  }

  /** SDXL has two text encoders, whose names in kohya's files differ from that of SD1's. */
  private static AdapterFile.Component textEncoder(Path folder) {
    if (String.valueOf(folder.getFileName()).equals("text_encoder_2")) {
      return AdapterFile.Component.TEXT_ENCODER_2;
    }
    return Files.exists(folder.resolveSibling("text_encoder_2"))
        ? AdapterFile.Component.TEXT_ENCODER_1
        : AdapterFile.Component.TEXT_ENCODER;
  }

  /** Attaches a PEFT folder, or a safetensors file of any dialect. */
  AdapterSet attach(Path adapter) {
    if (Files.isDirectory(adapter)) {
      Path diffusers = adapter.resolve("pytorch_lora_weights.safetensors");
      return Files.exists(diffusers) && !Files.exists(adapter.resolve("adapter_config.json"))
          ? attach(diffusers)
          : PeftFolder.open(module, adapter);
    }
    return AdapterFile.open(module, component, adapter).adapter();
  }

  @Override
  public void close() {
    module.close();
  }
}
