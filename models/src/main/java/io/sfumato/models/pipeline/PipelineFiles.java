// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.tensor.io.AtomicFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * How a pipeline is written. What was read is kept, so that it is written as it was.
 *
 * @param json the JSON files that were read, by their path in the folder
 * @param classNames of a training run's data; empty if they are not known
 */
record PipelineFiles(Map<String, byte[]> json, List<String> classNames) {
  static final String INDEX = "model_index.json";
  static final PipelineFiles NONE = new PipelineFiles(Map.of(), List.of());

  /** All but the files of one component; the index is written anew, too. */
  PipelineFiles without(String component) {
    Map<String, byte[]> rest = new LinkedHashMap<>(json);
    rest.keySet().removeIf(n -> n.startsWith(component + "/") || n.equals(INDEX));
    return new PipelineFiles(rest, classNames);
  }

  void write(Path folder, LatentDiffusion pipeline) {
    Map<String, Object> index = new TreeMap<>();
    index.put("_diffusers_version", ModelConfig.DIFFUSERS_VERSION);
    Backbone backbone = pipeline.backbone();
    boolean foreign = backbone.className().startsWith("DiT") && backbone.className().length() == 3;
    index.put(backbone.role(), List.of(foreign ? "sfumato" : "diffusers", backbone.className()));
    backbone.save().accept(made(folder.resolve(backbone.role())));
    index.put("scheduler", List.of("diffusers", pipeline.scheduler().className()));
    ModelConfig.write(
        made(folder.resolve("scheduler")).resolve("scheduler_config.json"),
        pipeline.scheduler().toMap());
    AutoencoderKL vae = pipeline.vae();
    if (vae != null) {
      vae.save(made(folder.resolve("vae")));
      index.put("vae", List.of("diffusers", "AutoencoderKL"));
    }
    switch (pipeline.conditioner()) {
      case Conditioner.None none -> index.put("_class_name", unconditional(vae));
      case Conditioner.Classes classes -> {
        boolean dit = backbone.role().equals("transformer");
        index.put("_class_name", dit && vae != null ? "DiTPipeline" : unconditional(vae));
        Map<String, String> labels = new TreeMap<>();
        for (int i = 0; i < classes.names().size(); i++) {
          labels.put(Integer.toString(i), classes.names().get(i));
        }
        index.put("id2label", labels);
      }
      case Conditioner.Words words -> {
        index.put("_class_name", "LatentDiffusion");
        index.put("text_encoder", List.of("sfumato", "WordEncoder"));
        words.words().save(made(folder.resolve("text_encoder")));
      }
      case Conditioner.Clip clip -> {
        index.put("_class_name", "StableDiffusionPipeline");
        boolean projects = clip.model().config().projection();
        String name = projects ? "CLIPTextModelWithProjection" : "CLIPTextModel";
        index.put("text_encoder", List.of("transformers", name));
        index.put("tokenizer", List.of("transformers", "CLIPTokenizer"));
        List<Object> nothing = new ArrayList<>();
        nothing.add(null);
        nothing.add(null);
        for (String absent : List.of("safety_checker", "feature_extractor", "image_encoder")) {
          index.put(absent, nothing);
        }
        index.put("requires_safety_checker", false);
        clip.model().save(made(folder.resolve("text_encoder")));
        clip.tokenizer().save(folder.resolve("tokenizer"));
      }
    }
    ModelConfig.write(folder.resolve(INDEX), index);
    json.forEach((name, bytes) -> rewrite(folder.resolve(name), bytes));
  }

  private static String unconditional(@Nullable AutoencoderKL vae) {
    return vae == null ? "DDPMPipeline" : "LDMPipeline";
  }

  private static void rewrite(Path file, byte[] bytes) {
    Path parent = file.getParent();
    if (parent != null) {
      made(parent);
    }
    AtomicFile.write(file, out -> AtomicFile.writeFully(out, ByteBuffer.wrap(bytes)));
  }

  private static Path made(Path folder) {
    try {
      return Files.createDirectories(folder);
    } catch (IOException e) {
      throw new UncheckedIOException(folder + ": cannot be made", e);
    }
  }
}
