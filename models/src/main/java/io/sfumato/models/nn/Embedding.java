// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;

/** A table of vectors looked up by index: [...] I64 to [..., width]. Initialised N(0, 1). */
public final class Embedding extends Layer {
  private final Parameter weight;

  /** A table of {@code count} vectors. */
  public Embedding(Weights weights, int count, int width) {
    this(weights, count, width, Init.normal(1));
  }

  /** A table of {@code count} vectors with own initial values. */
  public Embedding(Weights weights, int count, int width, Init init) {
    super(weights);
    this.weight = parameter("weight", Shape.of(count, width), init);
  }

  /** The table [count, width]. */
  public Parameter weight() {
    return weight;
  }

  @Override
  protected Tensor forward(Tensor indices) {
    return NN.embedding(indices, weight.value());
  }
}
