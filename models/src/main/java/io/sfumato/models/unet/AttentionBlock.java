// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.NN;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Spatial self-attention with its own normalisation and a residual, as autoencoders and UNet2D have
 * it (diffusers models/attention_processor.py, Attention with residual_connection).
 */
public final class AttentionBlock extends Layer {
  private final @Nullable GroupNorm groupNorm;
  private final @Nullable SpatialNorm spatialNorm;
  private final Linear toQ;
  private final Linear toK;
  private final Linear toV;
  private final Linear toOut;
  private final int heads;
  private final double outputScale;

  /**
   * A block.
   *
   * @param weights the source of its parameters
   * @param channels C
   * @param headDim width of one head; C must be divisible by it
   * @param groups groups of the normalisation, or null for none
   * @param eps its epsilon
   * @param outputScale divisor of the residual sum
   */
  public AttentionBlock(
      Weights weights,
      int channels,
      int headDim,
      @Nullable Integer groups,
      double eps,
      double outputScale) {
    this(weights, channels, headDim, groups, eps, outputScale, 0);
  }

  private AttentionBlock(
      Weights weights,
      int channels,
      int headDim,
      @Nullable Integer groups,
      double eps,
      double outputScale,
      int latentChannels) {
    super(weights);
    if (channels % headDim != 0) {
      throw new IllegalArgumentException(
          path()
              + ": channels must be divisible by the head width; got "
              + channels
              + " and "
              + headDim);
    }
    this.heads = channels / headDim;
    this.outputScale = outputScale;
    groupNorm =
        groups == null ? null : child("group_norm", w -> new GroupNorm(w, groups, channels, eps));
    spatialNorm =
        latentChannels == 0
            ? null
            : child("spatial_norm", w -> new SpatialNorm(w, channels, latentChannels));
    toQ = child("to_q", w -> new Linear(w, channels, channels));
    toK = child("to_k", w -> new Linear(w, channels, channels));
    toV = child("to_v", w -> new Linear(w, channels, channels));
    toOut = child("to_out.0", w -> new Linear(w, channels, channels));
  }

  /**
   * A block with one head whose normalisation a quantised latent modulates.
   *
   * @param weights the source of its parameters
   * @param channels C
   * @param latentChannels channels of the quantised latent
   */
  public static AttentionBlock spatial(Weights weights, int channels, int latentChannels) {
    return new AttentionBlock(weights, channels, channels, null, 0, 1, latentChannels);
  }

  /**
   * Runs a block made by {@link #spatial}.
   *
   * @param x [B, C, H, W]
   * @param zq the quantised latent [B, latentChannels, h, w]
   */
  public Tensor call(Tensor x, Tensor zq) {
    if (spatialNorm == null) {
      throw new IllegalStateException(path() + ": has no spatial_norm that takes a latent");
    }
    return call(() -> forward(x, spatialNorm.call(x, zq)));
  }

  @Override
  protected Tensor forward(Tensor x) {
    if (spatialNorm != null) {
      throw new IllegalStateException(path() + ": its spatial_norm needs the quantised latent");
    }
    return forward(x, groupNorm == null ? x : groupNorm.call(x));
  }

  private Tensor forward(Tensor x, Tensor normalised) {
    int b = x.dim(0);
    int c = x.dim(1);
    int h = x.dim(2);
    int w = x.dim(3);
    Tensor y = normalised.permute(0, 2, 3, 1).reshape(b, h * w, c); // [B, HW, C]
    List<Tensor> qkv = Linear.callAll(y, toQ, toK, toV);
    Tensor q = split(qkv.get(0)); // [B, heads, HW, D]
    Tensor k = split(qkv.get(1));
    Tensor v = split(qkv.get(2));
    y = NN.attention(q, k, v, AttentionOptions.of()); // [B, heads, HW, D]
    y = toOut.call(y.permute(0, 2, 1, 3).reshape(b, h * w, c)); // [B, HW, C]
    Tensor sum = y.reshape(b, h, w, c).permute(0, 3, 1, 2).add(x); // [B, C, H, W]
    return outputScale == 1 ? sum : sum.div(outputScale);
  }

  private Tensor split(Tensor t) {
    return t.reshape(t.dim(0), t.dim(1), heads, t.dim(2) / heads).permute(0, 2, 1, 3);
  }
}
