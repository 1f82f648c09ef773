// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.diffusion.Network;
import io.sfumato.models.dit.Conditioning;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitCheckpoints;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.dit.DitLayout;
import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.tensor.Tensor;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * A class-conditional network as a {@link DiffusionTrainer} sees it, and how it is called in a
 * pipeline folder of diffusers.
 *
 * @param model its parameters
 * @param network its forward; the condition is labels, I64 [B]
 * @param noClass the label that stands for "no class"
 * @param role its folder in a pipeline: {@code unet} or {@code transformer}
 * @param className its class in diffusers
 * @param pipelineName the pipeline's class in diffusers
 * @param config its configuration, as written to {@code config.json}
 * @param export turns its weights by name into those of {@code config}, where names or shapes
 *     differ
 */
public record TrainedModel(
    Module model,
    Network network,
    int noClass,
    String role,
    String className,
    String pipelineName,
    Map<String, ?> config,
    UnaryOperator<Map<String, Tensor>> export) {
  /** A network whose weights are written as they are. */
  public TrainedModel(
      Module model,
      Network network,
      int noClass,
      String role,
      String className,
      String pipelineName,
      Map<String, ?> config) {
    this(model, network, noClass, role, className, pipelineName, config, weights -> weights);
  }

  /**
   * A U-Net whose last class stands for "no class".
   *
   * @throws IllegalArgumentException if it has no classes
   */
  public static TrainedModel of(UNet2D unet) {
    Integer classes = unet.config().numClassEmbeds();
    if (classes == null) {
      throw new IllegalArgumentException("the model must have a table of classes");
    }
    return new TrainedModel(
        unet,
        (x, t, labels) -> unet.call(x, t, labels),
        classes - 1,
        "unet",
        "UNet2DModel",
        "DDPMPipeline",
        unet.config().toMap());
  }

  /**
   * A diffusion transformer. It is written in diffusers' layout if that has such models, so that
   * diffusers reads it; else in the original one.
   *
   * @throws IllegalArgumentException if it has no classes
   */
  public static TrainedModel of(Dit dit) {
    DitConfig config = dit.config();
    Integer classes = config.numEmbedsAdaNorm();
    if (classes == null) {
      throw new IllegalArgumentException("the model must have a table of classes");
    }
    boolean diffusers =
        config.conditioning() == Conditioning.ADALN_ZERO && config.positions().equals("sincos");
    DitLayout layout = diffusers ? DitLayout.DIFFUSERS : config.layout();
    return new TrainedModel(
        dit,
        (x, t, labels) -> dit.call(x, t, labels),
        classes,
        "transformer",
        diffusers ? "DiTTransformer2DModel" : "DiT",
        "DiTPipeline",
        config.toBuilder().namesOf(layout).build().toMap(),
        weights -> DitCheckpoints.as(layout, weights, config));
  }
}
