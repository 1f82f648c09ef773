// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;

/** The small model that PEFT's golden files were made with. */
final class PeftBase extends Module {
  private final Embedding emb;
  private final Linear lin1;
  private final Linear lin2;
  private final Conv2d conv1;
  private final Conv2d conv2;

  PeftBase(Weights weights) {
    super(weights);
    emb = child("emb", w -> new Embedding(w, 10, 12));
    lin1 = child("lin1", w -> new Linear(w, 12, 20));
    lin2 = child("lin2", w -> new Linear(w, 20, 36, false));
    conv1 = child("conv1", w -> new Conv2d(w, 4, 8, 3));
    conv2 = child("conv2", w -> new Conv2d(w, 8, 6, 1));
  }

  /** x [B, 12] and ids [B] to [B, 6, 3, 3]. */
  Tensor call(Tensor x, Tensor ids) {
    return call(
        () -> {
          Tensor h = lin2.call(NN.silu(lin1.call(x.add(emb.call(ids))))); // [B, 36]
          return conv2.call(NN.silu(conv1.call(h.reshape(-1, 4, 3, 3)))); // [B, 6, 3, 3]
        });
  }
}
