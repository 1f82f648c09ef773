// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Tensor;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * A time embedding and what the residual blocks make of it. The blocks of one model project the
 * same embedding, so all projections can be one product.
 */
final class TimeProjections {
  private final Tensor embedding;
  private final Map<Linear, Tensor> known = new IdentityHashMap<>();

  private TimeProjections(Tensor embedding) {
    this.embedding = embedding;
  }

  /**
   * Projections by the layers of a model.
   *
   * @param embedding [B, time], after the activation
   * @param layers those that are computed at once; others are computed when they are asked for
   */
  static TimeProjections of(Tensor embedding, Linear... layers) {
    TimeProjections projections = new TimeProjections(embedding);
    List<Tensor> results = layers.length == 0 ? List.of() : Linear.callAll(embedding, layers);
    for (int i = 0; i < layers.length; i++) {
      projections.known.put(layers[i], results.get(i));
    }
    return projections;
  }

  /** What a block reads of this: the embedding, and its projection if it is known already. */
  List<Tensor> of(ResnetBlock2D block) {
    Tensor result = block.timeProjection().map(known::get).orElse(null);
    return result == null ? List.of(embedding) : List.of(embedding, result);
  }

  /** The projection by a layer: [B, out]. */
  Tensor by(Linear layer) {
    Tensor result = known.get(layer);
    return result != null ? result : layer.call(embedding);
  }
}
