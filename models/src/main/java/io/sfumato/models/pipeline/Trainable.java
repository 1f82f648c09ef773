// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.diffusion.Network;
import io.sfumato.models.nn.Module;
import io.sfumato.models.train.CaptionTable;
import io.sfumato.models.train.FirstStage;
import io.sfumato.models.train.LatentEncoder;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.LongFunction;

/** A pipeline as {@link io.sfumato.models.train.DiffusionTrainer} sees it. */
public final class Trainable {
  private Trainable() {}

  /** Network and text encoder, with the names that each has by itself. */
  private static final class Jointly extends Module {
    Jointly(Backbone backbone, Conditioner conditioner) {
      super(Weights.meta());
      child("network", w -> backbone.module());
      conditioner.encoder().ifPresent(e -> child("text_encoder", w -> e));
    }
  }

  /**
   * The network of a pipeline, and its text encoder, trained together on the classes of a data set.
   *
   * @param pipeline its autoencoder is not trained
   * @param classNames the classes; their names are the prompts
   * @throws IllegalArgumentException if the network cannot be conditioned on them
   */
  public static TrainedModel of(LatentDiffusion pipeline, List<String> classNames) {
    Backbone backbone = pipeline.backbone();
    Conditioner conditioner = pipeline.conditioner();
    Network network =
        switch (conditioner) {
          case Conditioner.None none ->
              throw new IllegalArgumentException("the network takes no classes");
          case Conditioner.Classes classes -> {
            if (classes.noClass() == null || classes.noClass() != classNames.size()) {
              throw new IllegalArgumentException(
                  "the network must have a table of "
                      + classNames.size()
                      + " classes and one row more");
            }
            yield backbone.network();
          }
          default -> {
            List<String> prompts = new ArrayList<>(classNames);
            prompts.add("");
            yield onTexts(backbone.network(), conditioner, label -> prompts.get((int) label));
          }
        };
    return trained(backbone, conditioner, network, classNames.size());
  }

  /**
   * The network of a pipeline, and its text encoder, trained together on captions.
   *
   * @param pipeline its autoencoder is not trained
   * @param captions what labels stand for, see {@link io.sfumato.models.train.CaptionBatches}
   * @throws IllegalArgumentException if the pipeline has no text encoder
   */
  public static TrainedModel of(LatentDiffusion pipeline, CaptionTable captions) {
    Conditioner conditioner = pipeline.conditioner();
    if (conditioner.encoder().isEmpty()) {
      throw new IllegalArgumentException("the pipeline has no text encoder for captions");
    }
    Backbone backbone = pipeline.backbone();
    Network network = onTexts(backbone.network(), conditioner, captions::text);
    return trained(backbone, conditioner, network, CaptionTable.NONE);
  }

  private static TrainedModel trained(
      Backbone backbone, Conditioner conditioner, Network network, int noClass) {
    return new TrainedModel(
        new Jointly(backbone, conditioner),
        network,
        noClass,
        backbone.role(),
        backbone.className(),
        "LatentDiffusion",
        Map.of());
  }

  /** Labels become texts. */
  private static Network onTexts(
      Network network, Conditioner conditioner, LongFunction<String> textOf) {
    return (x, t, labels) -> {
      if (labels == null) {
        throw new IllegalArgumentException("labels are missing");
      }
      List<String> texts = Arrays.stream(labels.toLongArray()).mapToObj(textOf).toList();
      Tensor states = conditioner.condition(texts);
      return network.call(x, t, states == null ? null : states.to(x.device()));
    };
  }

  /** Gives the latents of a pipeline and writes it. */
  public static FirstStage firstStage(LatentDiffusion pipeline) {
    return new FirstStage() {
      @Override
      public Tensor encode(Tensor images, Rng rng) {
        return pipeline.encode(images, rng);
      }

      @Override
      public void save(Path folder) {
        pipeline.save(folder);
      }
    };
  }

  /**
   * Like {@link #firstStage}, but instead of pictures it gets what {@link #latentEncoder} made of
   * them: for {@link io.sfumato.models.train.LatentBatches}.
   */
  public static FirstStage latentStage(LatentDiffusion pipeline) {
    return new FirstStage() {
      @Override
      public Tensor encode(Tensor moments, Rng rng) {
        return pipeline.latents(moments, rng);
      }

      @Override
      public void save(Path folder) {
        pipeline.save(folder);
      }
    };
  }

  /**
   * Gives the distributions of a pipeline's latents, to be kept.
   *
   * @throws IllegalStateException if the pipeline has no autoencoder
   */
  public static LatentEncoder latentEncoder(LatentDiffusion pipeline) {
    AutoencoderKL vae = pipeline.requireAutoencoder();
    return new LatentEncoder() {
      @Override
      public Tensor moments(Tensor images) {
        return vae.moments(images);
      }

      @Override
      public String fingerprint() {
        return LatentEncoder.fingerprint(vae, String.valueOf(vae.config().toMap()));
      }
    };
  }
}
