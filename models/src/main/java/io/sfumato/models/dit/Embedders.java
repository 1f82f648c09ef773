// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import org.jspecify.annotations.Nullable;

/**
 * What embeds timestep and class: {@code time2(SiLU(time1(features)))}, and a table of classes.
 *
 * @param time1 256 features to D
 * @param time2 D to D
 * @param classes [classes + 1, D], or null
 */
record Embedders(Linear time1, Linear time2, @Nullable Embedding classes) {
  /** Width of the time features. */
  static final int FEATURES = 256;

  /** The embedding of the timestep from the first layer's result: [R, D]. */
  Tensor time(Tensor first) {
    return time2.call(NN.silu(first));
  }

  /** The embedding of classes [B]: [B, D]; null if there are none. */
  @Nullable Tensor classes(@Nullable Tensor labels) {
    return classes == null || labels == null ? null : classes.call(labels);
  }
}
