// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;

/**
 * Normalisation that a quantised latent modulates place by place: {@code groupNorm(x) · conv_y(zq)
 * + conv_b(zq)}, with zq repeated to the size of x (Zheng et al. 2022, "MoVQ: Modulating Quantized
 * Vectors for High-Fidelity Image Generation"; diffusers models/attention_processor.py,
 * SpatialNorm).
 */
public final class SpatialNorm extends Module {
  /** Groups of the normalisation, whatever the model's configuration says, as in the reference. */
  public static final int GROUPS = 32;

  private static final double EPS = 1e-6;

  private final GroupNorm norm;
  private final Conv2d convY;
  private final Conv2d convB;

  /**
   * A layer.
   *
   * @param weights the source of its parameters
   * @param channels C, divisible by {@link #GROUPS}
   * @param latentChannels channels of the quantised latent
   */
  public SpatialNorm(Weights weights, int channels, int latentChannels) {
    super(weights);
    norm = child("norm_layer", w -> new GroupNorm(w, GROUPS, channels, EPS));
    convY = child("conv_y", w -> new Conv2d(w, latentChannels, channels, 1, ConvOptions.of()));
    convB = child("conv_b", w -> new Conv2d(w, latentChannels, channels, 1, ConvOptions.of()));
  }

  /**
   * Normalises.
   *
   * @param x [B, C, H, W]
   * @param zq the quantised latent [B, latentChannels, h, w]
   * @return [B, C, H, W]
   */
  public Tensor call(Tensor x, Tensor zq) {
    return call(() -> forward(x, zq));
  }

  private Tensor forward(Tensor x, Tensor zq) {
    // A 1x1 convolution of repeated pixels is the repeated convolution, which is less work.
    Tensor scale = NN.upsampleNearest(convY.call(zq), x.dim(2), x.dim(3)); // [B, C, H, W]
    Tensor shift = NN.upsampleNearest(convB.call(zq), x.dim(2), x.dim(3)); // [B, C, H, W]
    return norm.call(x).mul(scale).add(shift);
  }
}
