// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The place in a Transformer for vectors that come before those of its tokens: what prompt tuning
 * trains. Neither model code nor parameter names change when something is in it.
 */
public final class PromptSlot {
  private volatile @Nullable Supplier<@Nullable Tensor> prompt;

  /** An empty slot. */
  public PromptSlot() {}

  /** A Transformer with such a slot. */
  public interface Holder {
    /** The slot. */
    PromptSlot promptSlot();

    /** The width of the vectors. */
    int promptWidth();

    /** How many positions there are for vectors and tokens. */
    int positions();
  }

  /**
   * Fills the slot.
   *
   * @param vectors gives [n, width], in the current scope; null while it is off
   * @throws IllegalStateException if something is in it
   */
  public synchronized void attach(Supplier<@Nullable Tensor> vectors) {
    if (prompt != null) {
      throw new IllegalStateException("the model has a prompt already; take that out first");
    }
    prompt = vectors;
  }

  /** Empties the slot. */
  public synchronized void detach() {
    prompt = null;
  }

  /**
   * The vectors of the slot before those of tokens.
   *
   * @param tokens [B, L, width]
   * @return [B, n + L, width]
   */
  public Tensor before(Tensor tokens) {
    Supplier<@Nullable Tensor> now = prompt;
    Tensor vectors = now == null ? null : now.get();
    if (vectors == null) {
      return tokens;
    }
    Tensor typed = vectors.dtype() == tokens.dtype() ? vectors : vectors.to(tokens.dtype());
    Shape all = Shape.of(tokens.dim(0), vectors.dim(0), vectors.dim(1));
    return Shaping.concat(1, Shaping.expand(Shaping.unsqueeze(typed, 0), all), tokens);
  }
}
