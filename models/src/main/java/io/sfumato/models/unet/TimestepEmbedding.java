// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;

/** Linear, SiLU, linear: what turns time features into the embedding that blocks receive. */
public final class TimestepEmbedding extends Layer {
  private final Linear linear1;
  private final Linear linear2;

  /** A layer from {@code in} features to width {@code out}. */
  public TimestepEmbedding(Weights weights, int in, int out) {
    super(weights);
    linear1 = child("linear_1", w -> new Linear(w, in, out));
    linear2 = child("linear_2", w -> new Linear(w, out, out));
  }

  @Override
  protected Tensor forward(Tensor x) {
    return linear2.call(NN.silu(linear1.call(x)));
  }
}
