// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.text.CLIPTextConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.models.unet.LdmUNetNames;
import io.sfumato.models.unet.LegacyNames;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.models.unet.UNet2DConditionConfig;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.models.vae.LdmNames;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.DerivedTensors;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/**
 * Checkpoints of Stable Diffusion in one file, under the names of the original repositories: {@code
 * model.diffusion_model.*} the U-Net, {@code first_stage_model.*} the autoencoder, {@code
 * cond_stage_model.transformer.*} the text encoder. Such a file holds no configurations and no
 * tokenizer; {@link #stableDiffusion1} gives those of Stable Diffusion 1.
 */
public final class SingleFile {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");
  private static final String TEXT = "cond_stage_model.transformer.";

  private SingleFile() {}

  /**
   * What a single file does not say.
   *
   * @param unet of the U-Net
   * @param vae of the autoencoder
   * @param text of the text encoder
   * @param scheduler noise schedule and sampler
   */
  public record Configs(
      UNet2DConditionConfig unet,
      AutoencoderKLConfig vae,
      CLIPTextConfig text,
      SchedulerConfig scheduler) {}

  /** The configurations of Stable Diffusion 1.x, with its sampler in diffusers, PNDM. */
  public static Configs stableDiffusion1() {
    return new Configs(
        UNet2DConditionConfig.of(
            Map.of("sample_size", 64, "cross_attention_dim", 768, "attention_head_dim", 8)),
        AutoencoderKLConfig.builder()
            .levels(List.of(128, 256, 512, 512))
            .layersPerBlock(2)
            .sampleSize(512)
            .build(),
        CLIPTextConfig.vitL14(),
        SchedulerConfig.of("PNDMScheduler")
            .with("beta_start", 0.00085)
            .with("beta_end", 0.012)
            .with("beta_schedule", "scaled_linear")
            .with("skip_prk_steps", true)
            .with("steps_offset", 1));
  }

  /**
   * Reads a checkpoint. All parts are checked before memory is spent on one; what belongs to none
   * of them (averages, schedules) is named in one log line.
   *
   * @param file a safetensors file
   * @param tokenizer the text encoder's
   * @param configs the parts' configurations
   * @throws IllegalArgumentException listing everything wrong
   */
  public static LatentDiffusion open(Path file, CLIPTokenizer tokenizer, Configs configs) {
    try (SafeTensors source = SafeTensors.open(file)) {
      LdmUNetNames unetNames = LdmUNetNames.of(configs.unet());
      LdmNames vaeNames = new LdmNames(configs.vae().blockOutChannels().size());
      TensorSource unet = view(source, LdmUNetNames.PREFIX, unetNames::toDiffusers);
      TensorSource vae =
          view(
              source,
              LdmNames.PREFIX,
              n -> vaeNames.toDiffusers(n.substring(LdmNames.PREFIX.length())));
      TensorSource text = view(source, TEXT, n -> Optional.of(n.substring(TEXT.length())));
      check(file, configs, unet, vae, text);
      int rest =
          source.entries().size()
              - unet.entries().size()
              - vae.entries().size()
              - text.entries().size();
      if (rest > 0) {
        LOG.log(
            System.Logger.Level.INFO,
            "{0}: {1} tensors belong to none of {2}*, {3}*, {4}* and are not read",
            file,
            rest,
            LdmUNetNames.PREFIX,
            LdmNames.PREFIX,
            TEXT);
      }
      return load(tokenizer, configs, unet, vae, text);
    }
  }

  private static void check(
      Path file, Configs configs, TensorSource unet, TensorSource vae, TensorSource text) {
    List<String> problems = new ArrayList<>();
    plan("unet", unet, w -> new UNet2DCondition(w, configs.unet()), problems);
    plan("vae", vae, w -> new AutoencoderKL(w, configs.vae()), problems);
    plan("text_encoder", text, w -> new CLIPTextModel(w, configs.text()), problems);
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(
          file
              + ": is no checkpoint of these configurations, "
              + problems.size()
              + (problems.size() == 1 ? " problem:\n  " : " problems:\n  ")
              + String.join("\n  ", problems));
    }
  }

  private static void plan(
      String role, TensorSource view, Function<Weights, Module> build, List<String> problems) {
    try (Module model = build.apply(Weights.meta())) {
      problems.addAll(Blueprints.compare(role, model, LegacyNames.of(view)));
    }
  }

  private static LatentDiffusion load(
      CLIPTokenizer tokenizer,
      Configs configs,
      TensorSource unet,
      TensorSource vae,
      TensorSource text) {
    List<Module> loaded = new ArrayList<>();
    try {
      UNet2DCondition network =
          new UNet2DCondition(Weights.from(LegacyNames.of(unet)), configs.unet());
      loaded.add(network);
      AutoencoderKL autoencoder =
          new AutoencoderKL(Weights.from(LegacyNames.of(vae)), configs.vae());
      loaded.add(autoencoder);
      CLIPTextModel encoder = CLIPTextModel.of(Weights.from(text), configs.text());
      loaded.add(encoder);
      return new LatentDiffusion(
          autoencoder,
          Backbone.of(network),
          new Conditioner.Clip(tokenizer, encoder),
          configs.scheduler());
    } catch (RuntimeException | Error e) {
      loaded.forEach(Module::close);
      throw e;
    }
  }

  /**
   * Writes a pipeline's models as one file under the original names.
   *
   * @param file the target; its folder must exist
   * @param pipeline must have a U-Net that looks at CLIP's states, and an autoencoder
   * @throws IllegalArgumentException if it is of other parts, or one has no original name
   */
  public static void save(Path file, LatentDiffusion pipeline) {
    AutoencoderKL vae = pipeline.vae();
    if (!(pipeline.backbone().module() instanceof UNet2DCondition unet)
        || !(pipeline.conditioner() instanceof Conditioner.Clip clip)
        || vae == null) {
      throw new IllegalArgumentException(
          "a single file holds a UNet2DConditionModel, an AutoencoderKL and a CLIPTextModel; this"
              + " pipeline is of other parts");
    }
    LdmUNetNames unetNames = LdmUNetNames.of(unet.config());
    LdmNames vaeNames = new LdmNames(vae.config().blockOutChannels().size());
    Scope.run(
        () -> {
          Map<String, Tensor> tensors = new LinkedHashMap<>();
          unet.stateDict().forEach((n, t) -> tensors.put(named(unetNames.toLdm(n), n), t));
          vae.stateDict()
              .forEach(
                  (n, t) -> {
                    String original = named(vaeNames.toOriginal(n), n);
                    boolean projection = n.contains("attentions.") && t.rank() == 2;
                    tensors.put(
                        LdmNames.PREFIX + original,
                        projection ? t.reshape(t.dim(0), t.dim(1), 1, 1) : t);
                  });
          clip.model().stateDict().forEach((n, t) -> tensors.put(TEXT + n, t));
          SafeTensors.save(file, tensors);
        });
  }

  private static String named(Optional<String> original, String name) {
    return original.orElseThrow(
        () -> new IllegalArgumentException("tensor " + name + " has no original name"));
  }

  /**
   * The tensors of a file that begin with a prefix, under other names; does not own the file. Names
   * without a counterpart stay, so that they are noticed as unused.
   */
  private static TensorSource view(
      TensorSource source, String prefix, Function<String, Optional<String>> rule) {
    DerivedTensors view = DerivedTensors.borrowing(source);
    source.entries().keySet().stream()
        .filter(stored -> stored.startsWith(prefix))
        .forEach(stored -> view.add(rule.apply(stored).orElse(stored), stored));
    return view;
  }
}
