// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Attention;
import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.FeedForward;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;

/**
 * Self-attention, cross-attention and GEGLU, each normalised before and added (diffusers
 * models/attention.py, BasicTransformerBlock).
 */
public final class TransformerBlock extends Module {
  private static final double EPS = 1e-5;

  private final boolean onlyCrossAttention;
  private final LayerNorm norm1;
  private final Attention attn1;
  private final LayerNorm norm2;
  private final Attention attn2;
  private final LayerNorm norm3;
  private final FeedForward ff;

  /**
   * A block.
   *
   * @param weights the source of its parameters
   * @param width C of the tokens
   * @param heads number of heads
   * @param contextWidth width of the context's states
   * @param onlyCrossAttention whether the first attention looks at the context too
   */
  public TransformerBlock(
      Weights weights, int width, int heads, int contextWidth, boolean onlyCrossAttention) {
    super(weights);
    this.onlyCrossAttention = onlyCrossAttention;
    Attention.Options self = Attention.of(width, heads, width / heads);
    Attention.Options cross = self.context(contextWidth);
    norm1 = child("norm1", w -> new LayerNorm(w, width, EPS, true));
    attn1 = child("attn1", w -> new Attention(w, onlyCrossAttention ? cross : self));
    norm2 = child("norm2", w -> new LayerNorm(w, width, EPS, true));
    attn2 = child("attn2", w -> new Attention(w, cross));
    norm3 = child("norm3", w -> new LayerNorm(w, width, EPS, true));
    ff = child("ff", w -> new FeedForward(w, width, FeedForward.Kind.GEGLU));
  }

  /**
   * Runs the block.
   *
   * @param x [B, L, C]
   * @param context what cross-attention looks at
   * @return [B, L, C]
   */
  public Tensor call(Tensor x, Context context) {
    return call(
        () -> {
          Tensor n = norm1.call(x);
          Tensor h =
              x.add(onlyCrossAttention ? attn1.call(n, context) : attn1.call(n)); // [B, L, C]
          h = h.add(attn2.call(norm2.call(h), context));
          return h.add(ff.call(norm3.call(h)));
        });
  }
}
