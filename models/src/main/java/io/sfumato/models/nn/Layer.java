// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;

/** A module with one input and one output. */
public abstract class Layer extends Module {
  /** A layer whose parameters come from {@code weights}. */
  protected Layer(Weights weights) {
    super(weights);
  }

  /** The computation. Subclasses implement it; users call {@link #call(Tensor)}. */
  protected abstract Tensor forward(Tensor x);

  /** Runs the layer; temporaries are freed, the result belongs to the current scope. */
  public final Tensor call(Tensor x) {
    return call(() -> forward(x));
  }
}
