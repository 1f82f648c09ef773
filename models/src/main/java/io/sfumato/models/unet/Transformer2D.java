// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Transformer blocks over the pixels of a picture, between two projections, added to it (diffusers
 * models/transformers/transformer_2d.py).
 */
public final class Transformer2D extends Module {
  private static final double EPS = 1e-6;

  /**
   * What a transformer is made of.
   *
   * @param channels C of the picture and of the tokens
   * @param heads number of heads
   * @param blocks number of transformer blocks
   * @param contextWidth width of the context's states
   * @param groups groups of the normalisation
   * @param linearProjection whether the projections are linear layers; 1x1 convolutions else
   * @param onlyCrossAttention whether the first attention of a block looks at the context too
   */
  public record Options(
      int channels,
      int heads,
      int blocks,
      int contextWidth,
      int groups,
      boolean linearProjection,
      boolean onlyCrossAttention) {}

  private final Options options;
  private final GroupNorm norm;
  private final Layer projIn;
  private final List<TransformerBlock> blocks;
  private final Layer projOut;

  /**
   * A transformer.
   *
   * @throws IllegalArgumentException if the channels do not divide into the heads
   */
  public Transformer2D(Weights weights, Options options) {
    super(weights);
    this.options = options;
    int c = options.channels;
    if (options.heads < 1 || c % options.heads != 0) {
      throw new IllegalArgumentException(
          path() + ": channels must be divisible by heads; got " + c + " and " + options.heads);
    }
    norm = child("norm", w -> new GroupNorm(w, options.groups, c, EPS));
    projIn = child("proj_in", this::projection);
    blocks =
        children(
            "transformer_blocks",
            options.blocks,
            (w, i) ->
                new TransformerBlock(
                    w, c, options.heads, options.contextWidth, options.onlyCrossAttention));
    projOut = child("proj_out", this::projection);
  }

  private Layer projection(Weights w) {
    int c = options.channels;
    return options.linearProjection
        ? new Linear(w, c, c)
        : new Conv2d(w, c, c, 1, ConvOptions.of());
  }

  /**
   * Runs the transformer.
   *
   * @param x [B, C, H, W]
   * @param context what cross-attention looks at
   * @return [B, C, H, W]
   * @throws IllegalArgumentException if there is no context
   */
  public Tensor call(Tensor x, @Nullable Context context) {
    if (context == null) {
      throw new IllegalArgumentException(path() + ": needs a context; got none");
    }
    return call(() -> forward(x, context));
  }

  private Tensor forward(Tensor x, Context context) {
    int b = x.dim(0);
    int c = x.dim(1);
    int h = x.dim(2);
    int w = x.dim(3);
    Tensor y = norm.call(x); // [B, C, H, W]
    y = options.linearProjection ? y : projIn.call(y);
    y = y.permute(0, 2, 3, 1).reshape(b, h * w, c); // [B, HW, C]
    y = options.linearProjection ? projIn.call(y) : y;
    for (TransformerBlock block : blocks) {
      y = block.call(y, context);
    }
    y = options.linearProjection ? projOut.call(y) : y;
    y = y.reshape(b, h, w, c).permute(0, 3, 1, 2); // [B, C, H, W]
    y = options.linearProjection ? y : projOut.call(y);
    return y.add(x);
  }
}
