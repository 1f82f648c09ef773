// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import org.jspecify.annotations.Nullable;

/**
 * The residual block whose normalisations a quantised latent modulates (diffusers models/resnet.py,
 * ResnetBlockCondNorm2D with time_embedding_norm "spatial").
 */
public final class ResnetBlockCondNorm2D extends Module {
  private final SpatialNorm norm1;
  private final Conv2d conv1;
  private final SpatialNorm norm2;
  private final Conv2d conv2;
  private final @Nullable Conv2d convShortcut;
  private final Activation activation;

  /** A block from {@code in} to {@code out} channels, both divisible by 32. */
  public ResnetBlockCondNorm2D(
      Weights weights, int in, int out, int latentChannels, Activation activation) {
    super(weights);
    this.activation = activation;
    norm1 = child("norm1", w -> new SpatialNorm(w, in, latentChannels));
    conv1 = child("conv1", w -> new Conv2d(w, in, out, 3));
    norm2 = child("norm2", w -> new SpatialNorm(w, out, latentChannels));
    conv2 = child("conv2", w -> new Conv2d(w, out, out, 3));
    convShortcut =
        in == out ? null : child("conv_shortcut", w -> new Conv2d(w, in, out, 1, ConvOptions.of()));
  }

  /**
   * Runs the block.
   *
   * @param x [B, in, H, W]
   * @param zq the quantised latent [B, latentChannels, h, w]
   * @return [B, out, H, W]
   */
  public Tensor call(Tensor x, Tensor zq) {
    return call(() -> forward(x, zq));
  }

  private Tensor forward(Tensor x, Tensor zq) {
    Tensor h = activation.apply(norm1.call(x, zq)); // [B, in, H, W]
    h = conv1.call(h); // [B, out, H, W]
    h = activation.apply(norm2.call(h, zq));
    h = conv2.call(h);
    return (convShortcut == null ? x : convShortcut.call(x)).add(h);
  }
}
