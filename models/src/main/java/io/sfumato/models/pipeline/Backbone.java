// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.diffusion.Network;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.tensor.Shape;
import java.nio.file.Path;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The network of a pipeline, whatever its kind.
 *
 * @param module its parameters
 * @param network its forward; the condition is labels I64 [B], or states [B, L, contextWidth]
 * @param role its folder in a pipeline: {@code unet} or {@code transformer}
 * @param className its class in {@code model_index.json}
 * @param inChannels channels of its input
 * @param unit what the sides of its input must be divisible by
 * @param sampleSide side of the input that it was made for; null if its configuration says nothing
 * @param classes number of rows of its table of classes; null if it takes no labels
 * @param contextWidth width of the states it looks at; null if it takes none
 * @param save writes its folder
 */
public record Backbone(
    Module module,
    Network network,
    String role,
    String className,
    int inChannels,
    int unit,
    @Nullable Integer sampleSide,
    @Nullable Integer classes,
    @Nullable Integer contextWidth,
    Consumer<Path> save) {
  /** A U-Net with or without classes. */
  public static Backbone of(UNet2D unet) {
    var config = unet.config();
    return new Backbone(
        unet,
        unet::call,
        "unet",
        "UNet2DModel",
        config.inChannels(),
        1 << (config.blockOutChannels().size() - 1),
        config.sampleSize(),
        config.numClassEmbeds(),
        null,
        unet::save);
  }

  /** A U-Net that looks at the states of a text encoder. */
  public static Backbone of(UNet2DCondition unet) {
    var config = unet.config();
    return new Backbone(
        unet,
        (x, t, states) -> unet.call(x, t, states == null ? null : Context.of(states)),
        "unet",
        "UNet2DConditionModel",
        config.inChannels(),
        1 << (config.blockOutChannels().size() - 1),
        config.sampleSize() == null ? null : config.sampleSize().at(0),
        null,
        config.transformers().crossAttentionDim().at(0),
        unet::save);
  }

  /** A diffusion transformer with or without classes. */
  public static Backbone of(Dit dit) {
    var config = dit.config();
    Integer classes = config.numEmbedsAdaNorm();
    return new Backbone(
        dit,
        dit::call,
        "transformer",
        config.toMap().getOrDefault("_class_name", "DiT") instanceof String s ? s : "DiT",
        config.inChannels(),
        config.patchSize(),
        config.sampleSize(),
        classes == null ? null : Integer.valueOf(classes + 1),
        null,
        dit::save);
  }

  /** The shape of {@code count} inputs of height and width. */
  Shape input(int count, int height, int width) {
    return Shape.of(count, inChannels, height, width);
  }
}
