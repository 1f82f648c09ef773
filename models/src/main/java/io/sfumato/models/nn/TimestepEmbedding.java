// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import org.jspecify.annotations.Nullable;

/**
 * What turns time features into the embedding that blocks receive (diffusers models/embeddings.py,
 * TimestepEmbedding): {@code linear_2(act(linear_1(x + cond_proj(c))))}, with another activation
 * behind it if asked for. The condition c is the guidance embedding of LCM.
 */
public final class TimestepEmbedding extends Layer {
  private final Activation activation;
  private final @Nullable Activation postActivation;
  private final @Nullable Linear condProj;
  private final Linear linear1;
  private final Linear linear2;

  /** A layer with SiLU from {@code in} features to width {@code out}. */
  public TimestepEmbedding(Weights weights, int in, int out) {
    this(weights, in, out, Activation.SILU, null, null);
  }

  /**
   * A layer from {@code in} features to width {@code out}.
   *
   * @param activation between the products
   * @param postActivation behind them, or null
   * @param conditionWidth width of a condition that is projected and added first, or null
   */
  public TimestepEmbedding(
      Weights weights,
      int in,
      int out,
      Activation activation,
      @Nullable Activation postActivation,
      @Nullable Integer conditionWidth) {
    super(weights);
    this.activation = activation;
    this.postActivation = postActivation;
    linear1 = child("linear_1", w -> new Linear(w, in, out));
    condProj =
        conditionWidth == null
            ? null
            : child("cond_proj", w -> new Linear(w, conditionWidth, in, false));
    linear2 = child("linear_2", w -> new Linear(w, out, out));
  }

  @Override
  protected Tensor forward(Tensor x) {
    return embed(x, null);
  }

  /**
   * The embedding with a condition.
   *
   * @param x features [B, in]
   * @param condition [B, conditionWidth], or null for none
   * @return [B, out]
   * @throws IllegalArgumentException if the layer has no projection for a condition
   */
  public Tensor call(Tensor x, @Nullable Tensor condition) {
    return call(() -> embed(x, condition));
  }

  private Tensor embed(Tensor x, @Nullable Tensor condition) {
    Tensor h = x;
    if (condition != null) {
      if (condProj == null) {
        throw new IllegalArgumentException(
            path() + ": has no projection (time_cond_proj_dim) for a condition");
      }
      h = h.add(condProj.call(condition));
    }
    h = linear2.call(activation.apply(linear1.call(h)));
    return postActivation == null ? h : postActivation.apply(h);
  }
}
