// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** A neural network as samplers and losses see it: U-Net, DiT, or anything of this form. */
@FunctionalInterface
public interface Network {
  /**
   * Predicts what its parameterisation says.
   *
   * @param x noisy samples [B, C, ...]
   * @param timesteps one per sample
   * @param condition class labels or another conditioning, one row per sample; null if there is
   *     none
   * @return [B, C or 2C, ...]
   */
  Tensor call(Tensor x, double[] timesteps, @Nullable Tensor condition);
}
