// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * What an attention may see and how it is scaled. Immutable; {@code
 * AttentionOptions.of().causal(true)}.
 *
 * @param scale factor of the products of queries and keys; null means {@code 1 / sqrt(D)}
 * @param causal whether query {@code i} sees keys {@code j <= i} only
 * @param mask BOOL, true where a key may be seen, or floating, added to the scaled products; shape
 *     broadcastable to [B, H, Lq, Lk]; null for none
 */
public record AttentionOptions(@Nullable Double scale, boolean causal, @Nullable Tensor mask) {
  private static final AttentionOptions DEFAULT = new AttentionOptions(null, false, null);

  /** Scale {@code 1 / sqrt(D)}, not causal, no mask. */
  public static AttentionOptions of() {
    return DEFAULT;
  }

  /** With this scale. */
  public AttentionOptions scale(double value) {
    return new AttentionOptions(value, causal, mask);
  }

  /** Whether query {@code i} sees keys {@code j <= i} only. */
  public AttentionOptions causal(boolean value) {
    return new AttentionOptions(scale, value, mask);
  }

  /** With this mask, or without one if null. */
  public AttentionOptions mask(@Nullable Tensor value) {
    return new AttentionOptions(scale, causal, value);
  }
}
