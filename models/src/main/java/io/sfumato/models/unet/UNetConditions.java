// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a conditional U-Net may be given beside picture, timesteps and context. Immutable; {@code
 * UNetConditions.none().text(pooled, timeIds)}.
 *
 * @param classes I64 [B] for a table, F32 [B] timesteps, or vectors [B, D]; see {@link
 *     UNetConditioning}
 * @param guidance embedding of the guidance scale of consistency models [B, time_cond_proj_dim]
 * @param textEmbeds pooled text of Stable Diffusion XL [B, D]
 * @param timeIds its sizes: original height and width, crop's top and left, target height and width
 *     [B, 6]
 * @param downResiduals added to the results of the way down that the way up takes, as {@link
 *     ControlNet} gives them: one for each, in the order of the way down; empty for none
 * @param midResidual added to the result of the middle, or null
 */
public record UNetConditions(
    @Nullable Tensor classes,
    @Nullable Tensor guidance,
    @Nullable Tensor textEmbeds,
    @Nullable Tensor timeIds,
    List<Tensor> downResiduals,
    @Nullable Tensor midResidual) {
  private static final UNetConditions NONE =
      new UNetConditions(null, null, null, null, List.of(), null);

  /** Keeps a copy of the list. */
  public UNetConditions {
    downResiduals = List.copyOf(downResiduals);
  }

  /** Nothing. */
  public static UNetConditions none() {
    return NONE;
  }

  /** With classes. */
  public UNetConditions classes(@Nullable Tensor labels) {
    return new UNetConditions(labels, guidance, textEmbeds, timeIds, downResiduals, midResidual);
  }

  /** With an embedding of the guidance scale. */
  public UNetConditions guidance(@Nullable Tensor embedding) {
    return new UNetConditions(classes, embedding, textEmbeds, timeIds, downResiduals, midResidual);
  }

  /** With pooled text and sizes. */
  public UNetConditions text(Tensor pooled, Tensor sizes) {
    return new UNetConditions(classes, guidance, pooled, sizes, downResiduals, midResidual);
  }

  /** With residuals of a control network. */
  public UNetConditions residuals(List<Tensor> down, Tensor mid) {
    return new UNetConditions(classes, guidance, textEmbeds, timeIds, down, mid);
  }
}
