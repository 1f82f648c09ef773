// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Module;
import io.sfumato.models.vae.AutoencoderBlocks.Down;
import io.sfumato.models.vae.AutoencoderBlocks.Mid;
import io.sfumato.models.vae.AutoencoderBlocks.Style;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayList;
import java.util.List;

/**
 * The convolutional encoder of autoencoders: levels of residual blocks that halve the picture, and
 * a middle with attention (Esser et al. 2021, "Taming Transformers"; diffusers
 * models/autoencoders/vae.py, Encoder).
 */
public final class Encoder extends Module {
  /**
   * What an encoder is made of.
   *
   * @param in channels of the picture
   * @param out channels of the result
   * @param blockTypes see {@link AutoencoderKLConfig#downBlockTypes}
   * @param channels per level
   * @param layersPerBlock residual blocks per level
   * @param groups groups of the normalisations
   * @param activation activation of the residual blocks
   * @param midAttention whether the middle has attention
   */
  record Plan(
      int in,
      int out,
      List<String> blockTypes,
      List<Integer> channels,
      int layersPerBlock,
      int groups,
      Activation activation,
      boolean midAttention) {}

  private final int in;
  private final Conv2d convIn;
  private final List<Down> down = new ArrayList<>();
  private final Mid mid;
  private final GroupNorm convNormOut;
  private final Conv2d convOut;
  private volatile boolean recompute;

  Encoder(Weights weights, Plan plan) {
    super(weights);
    this.in = plan.in;
    var style = new Style(plan.groups, plan.activation, 0);
    List<Integer> channels = plan.channels;
    int levels = channels.size();
    convIn = child("conv_in", w -> new Conv2d(w, plan.in, channels.getFirst(), 3));
    for (int i = 0; i < levels; i++) {
      int from = channels.get(Math.max(0, i - 1));
      int to = channels.get(i);
      String type = plan.blockTypes.get(i);
      boolean last = i == levels - 1;
      down.add(
          child(
              "down_blocks." + i,
              w -> new Down(w, style, type, plan.layersPerBlock, from, to, !last)));
    }
    int deepest = channels.getLast();
    mid = child("mid_block", w -> new Mid(w, style, deepest, plan.midAttention));
    convNormOut =
        child("conv_norm_out", w -> new GroupNorm(w, plan.groups, deepest, AutoencoderBlocks.EPS));
    convOut = child("conv_out", w -> new Conv2d(w, deepest, plan.out, 3));
  }

  /** Whether backward computes the levels again instead of keeping what they computed. */
  void setGradientCheckpointing(boolean on) {
    recompute = on;
  }

  /**
   * Encodes.
   *
   * @param x [B, in, H, W]; each side at least {@code f}, 2 to the number of halvings
   * @return [B, out, ⌊H / f⌋, ⌊W / f⌋]
   */
  public Tensor call(Tensor x) {
    int factor = 1 << (down.size() - 1);
    if (x.rank() != 4 || x.dim(1) != in) {
      throw new ShapeException("pictures must be [B, " + in + ", H, W]; got " + x.spec());
    }
    if (x.dim(2) < factor || x.dim(3) < factor) {
      throw new ShapeException(
          "height and width must be at least "
              + factor
              + " ("
              + (down.size() - 1)
              + " halvings); got "
              + x.spec());
    }
    return call(() -> forward(x));
  }

  private Tensor forward(Tensor x) {
    Tensor h = convIn.call(x); // [B, C0, H, W]
    for (Down block : down) {
      h = block.call(h, null, recompute);
    }
    h = mid.call(h, null, recompute); // [B, C, H / f, W / f]
    h = convNormOut.callSilu(h);
    return convOut.call(h); // [B, out, H / f, W / f]
  }
}
