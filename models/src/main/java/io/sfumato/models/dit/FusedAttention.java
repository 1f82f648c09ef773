// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.PrefixSlot;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Self-attention with one product for queries, keys and values, as timm and DiT have it: {@code
 * proj(softmax(q kᵀ / √D) v)}, rows of {@code qkv} in this order.
 */
final class FusedAttention extends Module implements PrefixSlot.Holder {
  private final Linear qkv;
  private final Linear proj;
  private final Dropout dropout;
  private final PrefixSlot prefix = new PrefixSlot();
  private final int heads;
  private final int headWidth;

  FusedAttention(Weights weights, DitConfig config) {
    super(weights);
    int width = config.width();
    heads = config.numAttentionHeads();
    headWidth = width / heads;
    qkv = child("qkv", w -> new Linear(w, width, 3 * width, config.attentionBias()));
    proj = child("proj", w -> new Linear(w, width, width));
    dropout = child("proj_drop", w -> new Dropout(w, config.dropout()));
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
   * Attends.
   *
   * @param x [B, N, D]
   * @param rotary how queries and keys are turned, or null
   * @return [B, N, D]
   */
  Tensor call(Tensor x, @Nullable Rotary rotary) {
    return call(
        () -> {
          int b = x.dim(0);
          int n = x.dim(1);
          int d = x.dim(2);
          Tensor z = qkv.call(x).reshape(b, n, 3, heads, d / heads).permute(2, 0, 3, 1, 4);
          List<Tensor> parts = Shaping.unbind(z, 0); // q, k, v: [B, H, N, D/H], strided
          Tensor q = rotary == null ? parts.get(0) : rotary.turn(parts.get(0));
          Tensor k = rotary == null ? parts.get(1) : rotary.turn(parts.get(1));
          Tensor y = prefix.attend(q, k, parts.get(2), AttentionOptions.of());
          return dropout.call(proj.call(y.permute(0, 2, 1, 3).reshape(b, n, d))); // [B, N, D]
        });
  }
}
