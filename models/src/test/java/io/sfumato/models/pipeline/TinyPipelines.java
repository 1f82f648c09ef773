// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.text.CLIPTextConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.models.text.WordEncoder;
import io.sfumato.models.text.WordEncoderConfig;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.models.unet.UNet2DConditionConfig;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.io.Weights;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Pipelines of random weights, small enough for tests: 16 x 16 pictures, latents of 8 x 8. */
public final class TinyPipelines {
  static final int TEXT = 24;

  private TinyPipelines() {}

  public static Weights weights(int seed) {
    return Weights.init(Rng.seed(seed));
  }

  static AutoencoderKLConfig vaeConfig() {
    return AutoencoderKLConfig.builder()
        .levels(List.of(8, 16))
        .normNumGroups(4)
        .latentChannels(4)
        .sampleSize(16)
        .build();
  }

  static AutoencoderKL vae() {
    return new AutoencoderKL(weights(1), vaeConfig());
  }

  static UNet2DConditionConfig unetConfig() {
    return UNet2DConditionConfig.of(
        Map.of(
            "sample_size",
            8,
            "block_out_channels",
            List.of(8, 16),
            "down_block_types",
            List.of("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types",
            List.of("UpBlock2D", "CrossAttnUpBlock2D"),
            "layers_per_block",
            1,
            "attention_head_dim",
            2,
            "cross_attention_dim",
            TEXT,
            "norm_num_groups",
            4));
  }

  static SchedulerConfig scheduler() {
    return SchedulerConfig.of("DDIMScheduler").with("clip_sample", false);
  }

  static LatentDiffusion words() {
    var config = new WordEncoderConfig(List.of("blue", "circle", "red", "star"), 3, TEXT);
    return new LatentDiffusion(
        vae(),
        Backbone.of(new UNet2DCondition(weights(2), unetConfig())),
        new Conditioner.Words(new WordEncoder(weights(3), config)),
        scheduler());
  }

  static CLIPTokenizer tokenizer() {
    try {
      return CLIPTokenizer.open(
          Path.of(TinyPipelines.class.getResource("/text/tokenizer").toURI()));
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  static CLIPTextConfig textConfig() {
    int tokens = tokenizer().vocabularySize();
    return new CLIPTextConfig(
        false, tokens, TEXT, 32, 16, 2, 3, 77, "quick_gelu", 1e-5, 0, 0.02, 1, 1, 0, 2);
  }

  public static LatentDiffusion clip() {
    return new LatentDiffusion(
        vae(),
        Backbone.of(new UNet2DCondition(weights(2), unetConfig())),
        new Conditioner.Clip(tokenizer(), new CLIPTextModel(weights(4), textConfig())),
        scheduler());
  }

  static LatentDiffusion transformer() {
    DitConfig config =
        DitConfig.builder()
            .size(1, 2, 8)
            .patchSize(2)
            .sampleSize(8)
            .imageChannels(4)
            .classes(3)
            .build();
    return new LatentDiffusion(
        vae(),
        Backbone.of(new Dit(weights(5), config)),
        new Conditioner.Classes(List.of("cat", "dog", "cow"), 3),
        scheduler());
  }
}
