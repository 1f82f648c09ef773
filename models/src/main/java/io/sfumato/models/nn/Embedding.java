// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A table of vectors looked up by index: [...] I64 to [..., width]. Initialised N(0, 1). */
public final class Embedding extends WeightLayer {
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
  @Override
  public Parameter weight() {
    return weight;
  }

  @Override
  public Optional<Parameter> bias() {
    return Optional.empty();
  }

  @Override
  public Tensor compute(Tensor indices, Tensor table, @Nullable Tensor bias) {
    return NN.embedding(indices, table);
  }
}
