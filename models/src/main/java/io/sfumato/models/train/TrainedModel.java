// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.diffusion.Network;
import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.UNet2D;
import java.util.Map;

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
 */
public record TrainedModel(
    Module model,
    Network network,
    int noClass,
    String role,
    String className,
    String pipelineName,
    Map<String, ?> config) {
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
}
