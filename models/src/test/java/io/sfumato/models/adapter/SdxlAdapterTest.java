// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.models.text.CLIPTextConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.models.unet.UNet2DConditionConfig;
import io.sfumato.models.unet.UNetConditions;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Files of kohya for SDXL, whose U-Net has the names of the original checkpoint, on models of
 * SDXL's build with few channels.
 */
class SdxlAdapterTest {
  @TempDir Path folder;

  /**
   * Names as they stand in files for SDXL, and the layers of diffusers that they mean; one of each
   * kind of block. Not made by this library: the names of files in circulation.
   */
  private static final Map<String, String> TABLE = new LinkedHashMap<>();

  static {
    TABLE.put("input_blocks_0_0", "conv_in");
    TABLE.put("input_blocks_1_0_in_layers_2", "down_blocks.0.resnets.0.conv1");
    TABLE.put("input_blocks_2_0_emb_layers_1", "down_blocks.0.resnets.1.time_emb_proj");
    TABLE.put("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv");
    TABLE.put("input_blocks_4_0_skip_connection", "down_blocks.1.resnets.0.conv_shortcut");
    TABLE.put("input_blocks_4_1_proj_in", "down_blocks.1.attentions.0.proj_in");
    TABLE.put(
        "input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q");
    TABLE.put(
        "input_blocks_5_1_transformer_blocks_1_attn2_to_out_0",
        "down_blocks.1.attentions.1.transformer_blocks.1.attn2.to_out.0");
    TABLE.put("input_blocks_6_0_op", "down_blocks.1.downsamplers.0.conv");
    TABLE.put("input_blocks_7_0_out_layers_3", "down_blocks.2.resnets.0.conv2");
    TABLE.put(
        "input_blocks_8_1_transformer_blocks_2_ff_net_0_proj",
        "down_blocks.2.attentions.1.transformer_blocks.2.ff.net.0.proj");
    TABLE.put("middle_block_0_in_layers_2", "mid_block.resnets.0.conv1");
    TABLE.put("middle_block_1_proj_out", "mid_block.attentions.0.proj_out");
    TABLE.put(
        "middle_block_1_transformer_blocks_2_attn1_to_k",
        "mid_block.attentions.0.transformer_blocks.2.attn1.to_k");
    TABLE.put("output_blocks_0_0_skip_connection", "up_blocks.0.resnets.0.conv_shortcut");
    TABLE.put("output_blocks_1_1_proj_in", "up_blocks.0.attentions.1.proj_in");
    TABLE.put("output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv");
    TABLE.put(
        "output_blocks_3_1_transformer_blocks_1_ff_net_2",
        "up_blocks.1.attentions.0.transformer_blocks.1.ff.net.2");
    TABLE.put("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv");
    TABLE.put("output_blocks_8_0_in_layers_2", "up_blocks.2.resnets.2.conv1");
    TABLE.put("time_embed_2", "time_embedding.linear_2");
    TABLE.put("label_emb_0_0", "add_embedding.linear_1");
    TABLE.put("out_2", "conv_out");
  }

  private static UNet2DCondition unet(boolean xl) {
    Map<String, Object> values = new HashMap<>();
    values.put("block_out_channels", List.of(8, 16, 32));
    values.put("norm_num_groups", 4);
    values.put("attention_head_dim", List.of(1, 2, 4));
    values.put("cross_attention_dim", 12);
    values.put("transformer_layers_per_block", List.of(1, 2, 3));
    if (xl) {
      values.put(
          "down_block_types",
          List.of("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"));
      values.put(
          "up_block_types", List.of("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"));
      values.put("use_linear_projection", true);
      values.put("addition_embed_type", "text_time");
      values.put("addition_time_embed_dim", 4);
      values.put("projection_class_embeddings_input_dim", 6 + 6 * 4);
    } else {
      values.put(
          "down_block_types",
          List.of("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"));
      values.put(
          "up_block_types", List.of("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"));
    }
    return new UNet2DCondition(Weights.init(Rng.seed(1)), UNet2DConditionConfig.of(values));
  }

  private static Tensor output(UNet2DCondition unet) {
    Rng rng = Rng.seed(2);
    return unet.call(
        rng.fork("x").normal(1, 4, 8, 8),
        new double[] {500},
        Context.of(rng.fork("text").normal(1, 3, 12)),
        UNetConditions.none()
            .text(rng.fork("pooled").normal(1, 6), Tensor.of(new double[6], 1, 6).to(DType.F32)));
  }

  private static CLIPTextModel text(boolean projection, int width) {
    return new CLIPTextModel(
        Weights.init(Rng.seed(3)),
        new CLIPTextConfig(
            projection, 20, width, 2 * width, 6, 2, 2, 5, "gelu", 1e-5, 0, 0.02, 1, 1, 0, 2));
  }

  private static Tensor output(CLIPTextModel text) {
    return text.call(Tensor.of(new long[] {0, 7, 9, 3, 2}, 1, 5));
  }

  private static AdapterSet adapter(Module model, AdapterKind kind) {
    AdapterSet set =
        AdapterSet.attach(model, Targets.all(), layer -> kindFor(kind, layer), Rng.seed(4));
    AdapterKindsTest.disturb(set);
    return set;
  }

  private static AdapterKind kindFor(AdapterKind kind, WeightLayer layer) {
    return kind.refuses(layer) == null ? kind : Lora.rank(1);
  }

  /** The tensors that a U-Net's adapter gives, in one file with those of both text encoders. */
  @Test
  void oneFileHoldsTheUNetAndBothTextEncoders() {
    for (AdapterKind kind : List.of(Lora.rank(2).alpha(3), Lokr.rank(1).alpha(2).factor(2))) {
      Map<String, Tensor> all = new LinkedHashMap<>();
      try (Scope scope = Scope.open();
          UNet2DCondition unet = unet(true);
          CLIPTextModel one = text(false, 8);
          CLIPTextModel two = text(true, 12)) {
        float[] plain = output(unet).toFloatArray();
        float[] wanted;
        float[] wantedOne;
        float[] wantedTwo;
        try (AdapterSet ofUNet = adapter(unet, kind);
            AdapterSet ofOne = clip(one, kind);
            AdapterSet ofTwo = clip(two, kind)) {
          wanted = output(unet).toFloatArray();
          wantedOne = output(one).toFloatArray();
          wantedTwo = output(two).toFloatArray();
          put(all, ofUNet, unet, AdapterFile.Component.UNET);
          put(all, ofOne, one, AdapterFile.Component.TEXT_ENCODER_1);
          put(all, ofTwo, two, AdapterFile.Component.TEXT_ENCODER_2);
        }
        Path file = folder.resolve("all.safetensors");
        SafeTensors.save(file, all);
        try (AdapterSet set = AdapterFile.open(unet, file).adapter()) {
          assertArrayEquals(wanted, output(unet).toFloatArray(), 1e-5f);
        }
        assertArrayEquals(plain, output(unet).toFloatArray());
        try (AdapterSet set =
                AdapterFile.open(one, AdapterFile.Component.TEXT_ENCODER_1, file).adapter();
            AdapterSet other =
                AdapterFile.open(two, AdapterFile.Component.TEXT_ENCODER_2, file).adapter()) {
          assertArrayEquals(wantedOne, output(one).toFloatArray(), 1e-5f);
          assertArrayEquals(wantedTwo, output(two).toFloatArray(), 1e-5f);
          assertEquals(2 * 6, set.parts().size());
        }
      }
      assertTrue(
          all.keySet().stream()
              .anyMatch(
                  key ->
                      key.startsWith("lora_te2_text_model_encoder_layers_1_self_attn_out_proj.")),
          all.keySet().toString());
    }
  }

  /** kohya adapts attention and feed-forward layers of text encoders. */
  private static AdapterSet clip(CLIPTextModel text, AdapterKind kind) {
    AdapterSet set =
        AdapterSet.attach(text, Targets.glob("text_model.encoder.**"), kind, Rng.seed(6));
    AdapterKindsTest.disturb(set);
    return set;
  }

  private void put(
      Map<String, Tensor> all, AdapterSet set, Module model, AdapterFile.Component component) {
    Path file = folder.resolve("part.safetensors");
    AdapterWriter.saveKohya(set, component, AdapterWriter.kohyaNames(model), DType.F32, file);
    try (SafeTensors part = SafeTensors.open(file)) {
      part.entries().keySet().forEach(key -> all.put(key, part.read(key)));
    }
  }

  @Test
  void namesAreThoseOfFilesInCirculation() {
    try (Scope scope = Scope.open();
        UNet2DCondition unet = unet(true)) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      Map<String, Module> modules = unet.modules();
      TABLE.forEach(
          (name, path) -> {
            int[] w = ((WeightLayer) modules.get(path)).weight().value().shape().dims();
            int out = w[0];
            int[] up = w.length == 4 ? new int[] {out, 2, 1, 1} : new int[] {out, 2};
            w[0] = 2;
            tensors.put("lora_unet_" + name + ".lora_down.weight", Rng.seed(7).normal(w));
            tensors.put("lora_unet_" + name + ".lora_up.weight", Rng.seed(8).normal(up));
            tensors.put("lora_unet_" + name + ".alpha", Tensor.of(new double[] {1}, 1).reshape());
          });
      Path file = folder.resolve("kohya.safetensors");
      SafeTensors.save(file, tensors);
      try (AdapterSet set = AdapterFile.open(unet, file).adapter()) {
        assertEquals(new TreeSet<>(TABLE.values()), new TreeSet<>(set.parts().keySet()));
        Path again = folder.resolve("again.safetensors");
        AdapterWriter.saveKohya(
            set, AdapterFile.Component.UNET, AdapterWriter.kohyaNames(unet), DType.F32, again);
        try (SafeTensors written = SafeTensors.open(again)) {
          assertEquals(tensors.keySet(), written.entries().keySet());
          tensors.forEach(
              (key, value) ->
                  assertArrayEquals(
                      value.toFloatArray(), written.read(key).toFloatArray(), 1e-6f, key));
        }
      }
    }
  }

  /** Stable Diffusion 1 has diffusers' names in kohya's files; original ones are read as well. */
  @Test
  void earlierModelsKeepTheNamesOfDiffusers() {
    try (Scope scope = Scope.open();
        UNet2DCondition unet = unet(false)) {
      assertEquals("conv_in", AdapterWriter.kohyaNames(unet).apply("conv_in"));
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("lora_unet_input_blocks_0_0.lora_down.weight", Rng.seed(7).normal(2, 4, 3, 3));
      tensors.put("lora_unet_input_blocks_0_0.lora_up.weight", Rng.seed(8).normal(8, 2, 1, 1));
      Path file = folder.resolve("original.safetensors");
      SafeTensors.save(file, tensors);
      try (AdapterSet set = AdapterFile.open(unet, file).adapter()) {
        assertEquals(List.of("conv_in"), List.copyOf(set.parts().keySet()));
      }
    }
  }
}
