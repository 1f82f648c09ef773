// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.SpatialNorm;
import io.sfumato.models.vae.AutoencoderBlocks.Mid;
import io.sfumato.models.vae.AutoencoderBlocks.Style;
import io.sfumato.models.vae.AutoencoderBlocks.Up;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The convolutional decoder of autoencoders: a middle with attention, and levels of residual blocks
 * that double the picture (Esser et al. 2021, "Taming Transformers"; diffusers
 * models/autoencoders/vae.py, Decoder).
 */
public final class Decoder extends Module {
  /**
   * What a decoder is made of.
   *
   * @param in channels of the latent
   * @param out channels of the picture
   * @param blockTypes see {@link AutoencoderKLConfig#upBlockTypes}
   * @param channels per level, the widest picture first
   * @param layersPerBlock residual blocks per level
   * @param groups groups of the normalisations
   * @param activation activation of the residual blocks
   * @param midAttention whether the middle has attention
   * @param spatial whether the quantised latent, of {@code in} channels, modulates normalisations
   */
  record Plan(
      int in,
      int out,
      List<String> blockTypes,
      List<Integer> channels,
      int layersPerBlock,
      int groups,
      Activation activation,
      boolean midAttention,
      boolean spatial) {}

  private final int in;
  private final Conv2d convIn;
  private final Mid mid;
  private final List<Up> up = new ArrayList<>();
  private final @Nullable GroupNorm convNormOut;
  private final @Nullable SpatialNorm spatialNormOut;
  private final Conv2d convOut;
  private volatile boolean recompute;

  Decoder(Weights weights, Plan plan) {
    super(weights);
    this.in = plan.in;
    var style = new Style(plan.groups, plan.activation, plan.spatial ? plan.in : 0);
    List<Integer> channels = plan.channels.reversed();
    int deepest = channels.getFirst();
    int levels = channels.size();
    convIn = child("conv_in", w -> new Conv2d(w, plan.in, deepest, 3));
    for (int i = 0; i < levels; i++) {
      int from = channels.get(Math.max(0, i - 1));
      int to = channels.get(i);
      String type = plan.blockTypes.get(i);
      boolean last = i == levels - 1;
      up.add(
          child(
              "up_blocks." + i, w -> new Up(w, style, type, plan.layersPerBlock, from, to, !last)));
    }
    mid = child("mid_block", w -> new Mid(w, style, deepest, plan.midAttention));
    int c0 = channels.getLast();
    convNormOut =
        plan.spatial
            ? null
            : child("conv_norm_out", w -> new GroupNorm(w, plan.groups, c0, AutoencoderBlocks.EPS));
    spatialNormOut =
        plan.spatial ? child("conv_norm_out", w -> new SpatialNorm(w, c0, plan.in)) : null;
    convOut = child("conv_out", w -> new Conv2d(w, c0, plan.out, 3));
  }

  /** Whether backward computes the levels again instead of keeping what they computed. */
  void setGradientCheckpointing(boolean on) {
    recompute = on;
  }

  /** The last convolution, by whose gradients adversarial losses are balanced. */
  public Conv2d lastLayer() {
    return convOut;
  }

  /**
   * Decodes.
   *
   * @param z [B, in, h, w]
   * @param zq the quantised latent [B, in, h, w] that modulates the normalisations; null exactly if
   *     they are not spatial
   * @return [B, out, f h, f w]
   */
  public Tensor call(Tensor z, @Nullable Tensor zq) {
    return call(() -> convOut.call(features(z, zq)));
  }

  /** What the last layer gets: [B, C0, f h, f w]; see {@link #call(Tensor, Tensor)}. */
  public Tensor features(Tensor z, @Nullable Tensor zq) {
    requireLatents(z, in);
    if ((zq == null) != (spatialNormOut == null)) {
      throw new IllegalArgumentException(
          path()
              + ": the quantised latent must be given exactly when norm_type is spatial; here it is"
              + (spatialNormOut == null ? " not" : ""));
    }
    return call(() -> forward(z, zq));
  }

  /** Refuses what is not [B, channels, h, w] with pixels. */
  static void requireLatents(Tensor z, int channels) {
    if (z.rank() != 4 || z.dim(1) != channels || z.dim(2) < 1 || z.dim(3) < 1) {
      throw new ShapeException("latents must be [B, " + channels + ", h, w]; got " + z.spec());
    }
  }

  private Tensor forward(Tensor z, @Nullable Tensor zq) {
    Tensor h = convIn.call(z); // [B, C, h, w]
    h = mid.call(h, zq, recompute);
    for (Up block : up) {
      h = block.call(h, zq, recompute);
    }
    return normOut(h, zq); // [B, C0, f h, f w]
  }

  private Tensor normOut(Tensor h, @Nullable Tensor zq) {
    return spatialNormOut == null
        ? Objects.requireNonNull(convNormOut).callSilu(h)
        : NN.silu(spatialNormOut.call(h, Objects.requireNonNull(zq)));
  }
}
