// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LdmNamesTest {
  @TempDir Path folder;

  /** The autoencoder of Stable Diffusion, of four levels. */
  @ParameterizedTest
  @CsvSource({
    "encoder.conv_in.weight,encoder.conv_in.weight",
    "encoder.norm_out.bias,encoder.conv_norm_out.bias",
    "decoder.norm_out.weight,decoder.conv_norm_out.weight",
    "decoder.conv_out.weight,decoder.conv_out.weight",
    "quant_conv.weight,quant_conv.weight",
    "post_quant_conv.bias,post_quant_conv.bias",
    "quantize.embedding.weight,quantize.embedding.weight",
    "encoder.down.0.block.0.norm1.weight,encoder.down_blocks.0.resnets.0.norm1.weight",
    "encoder.down.2.block.1.conv2.bias,encoder.down_blocks.2.resnets.1.conv2.bias",
    "encoder.down.1.block.0.nin_shortcut.weight,"
        + "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
    "encoder.down.2.downsample.conv.weight,encoder.down_blocks.2.downsamplers.0.conv.weight",
    "encoder.mid.block_1.conv1.weight,encoder.mid_block.resnets.0.conv1.weight",
    "encoder.mid.block_2.norm2.bias,encoder.mid_block.resnets.1.norm2.bias",
    "encoder.mid.attn_1.norm.weight,encoder.mid_block.attentions.0.group_norm.weight",
    "encoder.mid.attn_1.q.weight,encoder.mid_block.attentions.0.to_q.weight",
    "encoder.mid.attn_1.k.bias,encoder.mid_block.attentions.0.to_k.bias",
    "decoder.mid.attn_1.v.weight,decoder.mid_block.attentions.0.to_v.weight",
    "decoder.mid.attn_1.proj_out.bias,decoder.mid_block.attentions.0.to_out.0.bias",
    "decoder.up.0.block.0.nin_shortcut.bias,decoder.up_blocks.3.resnets.0.conv_shortcut.bias",
    "decoder.up.1.block.0.nin_shortcut.bias,decoder.up_blocks.2.resnets.0.conv_shortcut.bias",
    "decoder.up.3.upsample.conv.weight,decoder.up_blocks.0.upsamplers.0.conv.weight",
    "decoder.up.1.upsample.conv.bias,decoder.up_blocks.2.upsamplers.0.conv.bias",
    "decoder.up.3.attn.2.proj_out.weight,decoder.up_blocks.0.attentions.2.to_out.0.weight",
    "encoder.down.3.attn.1.norm.bias,encoder.down_blocks.3.attentions.1.group_norm.bias"
  })
  void namesGoBothWays(String original, String diffusers) {
    LdmNames names = new LdmNames(4);
    assertEquals(Optional.of(diffusers), names.toDiffusers(original));
    assertEquals(Optional.of(original), names.toOriginal(diffusers));
  }

  @Test
  void everyNameOfTheModelsHasOneOriginal() {
    try (Scope scope = Scope.open();
        AutoencoderKL vae = new AutoencoderKL(Weights.meta(), AutoencoderKLTest.stableDiffusion());
        VQModel vq =
            new VQModel(
                Weights.meta(),
                VQModelConfig.builder()
                    .levels(List.of(32, 64, 64), List.of(false, false, true))
                    .build())) {
      for (var model : List.of(vae, vq)) {
        LdmNames names = new LdmNames(model == vae ? 4 : 3);
        Set<String> originals = new HashSet<>();
        for (String name : model.stateDict().keySet()) {
          String original = names.toOriginal(name).orElseThrow();
          assertTrue(originals.add(original), original);
          assertEquals(Optional.of(name), names.toDiffusers(original));
        }
        assertEquals(
            model == vae ? 4 : 3,
            LdmNames.of(originals.stream().map(n -> LdmNames.PREFIX + n).toList()).levels());
      }
    }
  }

  @Test
  void otherNamesAreNone() {
    LdmNames names = new LdmNames(4);
    for (String other :
        List.of(
            "loss.logvar",
            "model.diffusion_model.out.0.weight",
            "encoder.conv_in.scale",
            "cond_stage_model.transformer.text_model.embeddings.position_ids")) {
      assertEquals(Optional.empty(), names.toDiffusers(other), other);
      assertEquals(Optional.empty(), names.toOriginal(other), other);
    }
    var e = assertThrows(IllegalArgumentException.class, () -> LdmNames.of(List.of("a.b")));
    assertTrue(String.valueOf(e.getMessage()).contains("encoder.down"), e.getMessage());
  }

  @Test
  void anOriginalCheckpointIsRead() {
    AutoencoderKLConfig config = AutoencoderKLTest.small().build();
    Path file = folder.resolve("model.safetensors");
    try (Scope scope = Scope.open();
        AutoencoderKL vae = new AutoencoderKL(Weights.init(Rng.seed(0)), config)) {
      LdmNames names = new LdmNames(3);
      Map<String, Tensor> old = new TreeMap<>();
      vae.stateDict()
          .forEach(
              (name, t) -> {
                boolean projection = name.matches(".*\\.to_(q|k|v|out\\.0)\\.weight");
                old.put(
                    LdmNames.PREFIX + names.toOriginal(name).orElseThrow(),
                    projection ? t.unsqueeze(-1).unsqueeze(-1).contiguous() : t);
              });
      SafeTensors.save(file, old);
      try (Weights weights = Weights.from(LdmNames.of(TensorSource.open(file)));
          AutoencoderKL again = new AutoencoderKL(weights, config)) {
        weights.requireAllUsed();
        vae.stateDict()
            .forEach(
                (n, t) ->
                    assertArrayEquals(
                        t.toFloatArray(), again.stateDict().get(n).toFloatArray(), n));
      }
    }
  }
}
