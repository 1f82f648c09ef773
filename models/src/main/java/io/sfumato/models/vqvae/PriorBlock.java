// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.PrefixSlot;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Updates;
import org.jspecify.annotations.Nullable;

/**
 * A block of GPT-2: {@code x + attention(norm(x))}, then {@code x + mlp(norm(x))}, with its names.
 */
final class PriorBlock extends Module implements PrefixSlot.Holder {
  private static final double EPS = 1e-5;

  private final PrefixSlot prefix = new PrefixSlot();
  private final int heads;
  private final int headWidth;
  private final LayerNorm norm1;
  private final Linear toQkv;
  private final Linear toOut;
  private final LayerNorm norm2;
  private final Linear fc;
  private final Linear project;
  private final Dropout dropout;

  /**
   * Keys and values of the positions that were seen, for a block.
   *
   * @param keys [B, L, H, D], filled up to the current position
   * @param values [B, L, H, D], likewise
   */
  record Cache(Tensor keys, Tensor values) {
    /** An empty cache of a block. */
    static Cache empty(Tensor like, int batch, CodePriorConfig c) {
      Shape shape = Shape.of(batch, c.length(), c.heads(), c.hidden() / c.heads());
      return new Cache(
          Tensor.zeros(like.spec().with(shape)), Tensor.zeros(like.spec().with(shape)));
    }
  }

  PriorBlock(Weights weights, CodePriorConfig c) {
    super(weights);
    heads = c.heads();
    headWidth = c.hidden() / c.heads();
    int n = c.hidden();
    Init in = Init.normal(0.02);
    Init out = Init.normal(0.02 / Math.sqrt(2.0 * c.layers())); // GPT-2: of what residuals add up
    norm1 = child("ln_1", w -> new LayerNorm(w, n, EPS, true));
    toQkv = child("attn.c_attn", w -> new Linear(w, n, 3 * n, true, in, Init.zeros()));
    toOut = child("attn.c_proj", w -> new Linear(w, n, n, true, out, Init.zeros()));
    norm2 = child("ln_2", w -> new LayerNorm(w, n, EPS, true));
    fc = child("mlp.c_fc", w -> new Linear(w, n, 4 * n, true, in, Init.zeros()));
    project = child("mlp.c_proj", w -> new Linear(w, 4 * n, n, true, out, Init.zeros()));
    dropout = child("drop", w -> new Dropout(w, c.dropout()));
  }

  @Override
  public PrefixSlot prefixSlot() {
    return prefix;
  }

  @Override
  public int heads() {
    return heads;
  }

  @Override
  public int headWidth() {
    return headWidth;
  }

  /**
   * The block.
   *
   * @param x [B, T, n]: all positions from the first, or one new position with a cache
   * @param cache of the positions before, to which this one is added; or null
   * @param position of x, with a cache
   */
  Tensor call(Tensor x, @Nullable Cache cache, int position) {
    return call(
        () -> {
          Tensor h = x.add(dropout.call(attention(norm1.call(x), cache, position))); // [B, T, n]
          Tensor m = project.call(NN.geluTanh(fc.call(norm2.call(h)))); // [B, T, n]
          return h.add(dropout.call(m));
        });
  }

  private Tensor attention(Tensor x, @Nullable Cache cache, int position) {
    int b = x.dim(0);
    int t = x.dim(1);
    int n = x.dim(2);
    Tensor qkv = toQkv.call(x).reshape(b, t, 3, heads, n / heads); // [B, T, 3, H, D]
    Tensor q = qkv.select(2, 0).permute(0, 2, 1, 3); // [B, H, T, D]
    Tensor k = qkv.select(2, 1); // [B, T, H, D]
    Tensor v = qkv.select(2, 2);
    if (cache != null) {
      Updates.copy(cache.keys.slice(1, position, position + 1), k);
      Updates.copy(cache.values.slice(1, position, position + 1), v);
      k = cache.keys.slice(1, 0, position + 1);
      v = cache.values.slice(1, 0, position + 1);
    }
    AttentionOptions options = AttentionOptions.of().causal(cache == null);
    Tensor y = prefix.attend(q, k.permute(0, 2, 1, 3), v.permute(0, 2, 1, 3), options);
    return toOut.call(y.permute(0, 2, 1, 3).reshape(b, t, n)); // [B, T, n]
  }
}
