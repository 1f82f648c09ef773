// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;

/** The two dropouts of a low-rank adapter: of its input's elements and of whole ranks. */
final class LoraDropout extends Module {
  private final Dropout input;
  private final Dropout rank;
  private final boolean any;

  LoraDropout(Weights weights, Lora kind) {
    super(weights);
    input = child("input", w -> new Dropout(w, kind.dropout()));
    rank = child("rank", w -> new Dropout(w, kind.rankDropout()));
    any = kind.dropout() > 0 || kind.rankDropout() > 0;
  }

  /** Whether anything is dropped now. */
  boolean acts() {
    return any && Dropout.isActive();
  }

  Tensor ofInput(Tensor x) {
    return acts() ? input.call(x) : x;
  }

  /** One draw per rank for the whole batch; {@code axis} of h is the rank's. */
  Tensor ofRank(Tensor h, int axis) {
    if (!acts()) {
      return h;
    }
    int r = h.dim(axis);
    Tensor kept = rank.call(Tensor.ones(r).to(h.dtype()).to(h.device()));
    return h.mul(axis == 1 && h.rank() == 4 ? kept.reshape(r, 1, 1) : kept);
  }
}
