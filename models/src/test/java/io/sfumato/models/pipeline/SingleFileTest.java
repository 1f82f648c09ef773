// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints in one file under the original names. */
class SingleFileTest {
  private static final SingleFile.Configs CONFIGS =
      new SingleFile.Configs(
          TinyPipelines.unetConfig(),
          TinyPipelines.vaeConfig(),
          TinyPipelines.textConfig(),
          TinyPipelines.scheduler());

  @TempDir Path temporary;

  @Test
  void savedIsRead() throws IOException {
    Path file = temporary.resolve("model.safetensors");
    Path again = temporary.resolve("again.safetensors");
    var request = GenerationRequest.of("a red star").steps(2).guidance(2);
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.clip()) {
      SingleFile.save(file, pipeline);
      float[] expected = pipeline.generate(request).toFloatArray();
      try (SafeTensors stored = SafeTensors.open(file)) {
        for (Map.Entry<String, List<Long>> e :
            Map.of(
                    "model.diffusion_model.input_blocks.0.0.weight", List.of(8L, 4L, 3L, 3L),
                    "model.diffusion_model.time_embed.2.bias", List.of(32L),
                    "model.diffusion_model.input_blocks.1.1.proj_in.weight",
                        List.of(8L, 8L, 1L, 1L),
                    "model.diffusion_model.input_blocks.2.0.op.weight", List.of(8L, 8L, 3L, 3L),
                    "first_stage_model.decoder.up.1.upsample.conv.bias", List.of(16L),
                    "first_stage_model.encoder.mid.attn_1.q.weight", List.of(16L, 16L, 1L, 1L),
                    "cond_stage_model.transformer.text_model.final_layer_norm.bias", List.of(24L))
                .entrySet()) {
          assertTrue(stored.entries().containsKey(e.getKey()), e.getKey());
          assertEquals(e.getValue(), stored.entries().get(e.getKey()).dims(), e.getKey());
        }
      }
      try (LatentDiffusion read = SingleFile.open(file, TinyPipelines.tokenizer(), CONFIGS)) {
        assertArrayEquals(expected, read.generate(request).toFloatArray());
        SingleFile.save(again, read);
      }
    }
    assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(again));
  }

  @Test
  void everythingWrongIsListed() {
    Path file = temporary.resolve("model.safetensors");
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.clip()) {
      SingleFile.save(file, pipeline);
      Map<String, Tensor> tensors = new HashMap<>();
      try (SafeTensors stored = SafeTensors.open(file)) {
        stored.entries().keySet().forEach(n -> tensors.put(n, stored.read(n)));
      }
      tensors.put("model_ema.decay", Tensor.zeros(1)); // is no part, and no defect
      tensors.remove("model.diffusion_model.out.2.bias");
      tensors.put("model.diffusion_model.foo", Tensor.zeros(1));
      tensors.put("first_stage_model.quant_conv.bias", Tensor.zeros(3));
      tensors.remove("cond_stage_model.transformer.text_model.final_layer_norm.bias");
      SafeTensors.save(file, tensors);
      var e =
          assertThrows(
              IllegalArgumentException.class,
              () -> SingleFile.open(file, TinyPipelines.tokenizer(), CONFIGS));
      for (String part :
          List.of(
              "4 problems",
              "unet: 1 tensors are missing: conv_out.bias",
              "unet: 1 tensors are not the model's: model.diffusion_model.foo",
              "quant_conv.bias is [3] and must be [8]",
              "text_encoder: 1 tensors are missing: text_model.final_layer_norm.bias")) {
        assertTrue(e.getMessage().contains(part), part + " is not in: " + e.getMessage());
      }
    }
  }

  @Test
  void stableDiffusion1HasAsManyTensorsAsItsFiles() {
    // The reference's counts: U-Net 686, autoencoder 248, text encoder 196.
    var configs = SingleFile.stableDiffusion1();
    assertEquals(686, io.sfumato.models.unet.LdmUNetNames.of(configs.unet()).all().size());
    var meta = io.sfumato.tensor.io.Weights.meta();
    try (var vae = new io.sfumato.models.vae.AutoencoderKL(meta, configs.vae())) {
      assertEquals(248, vae.parameters().size());
      assertEquals(83_653_863, vae.parameterCount());
    }
    meta = io.sfumato.tensor.io.Weights.meta();
    try (var text = new io.sfumato.models.text.CLIPTextModel(meta, configs.text())) {
      assertEquals(196, text.parameters().size());
      assertEquals(123_060_480, text.parameterCount());
    }
  }

  @Test
  void otherPipelinesAreRefused() {
    try (LatentDiffusion pipeline = TinyPipelines.words()) {
      var e =
          assertThrows(
              IllegalArgumentException.class,
              () -> SingleFile.save(temporary.resolve("x.safetensors"), pipeline));
      assertTrue(e.getMessage().contains("of other parts"), e.getMessage());
    }
  }
}
