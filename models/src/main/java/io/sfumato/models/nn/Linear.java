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

/**
 * {@code y = x Wᵀ + b} over the last axis; x is [..., in], W [out, in], b [out]. Initialised as
 * PyTorch's nn.Linear.
 */
public final class Linear extends WeightLayer {
  private final Parameter weight;
  private final @Nullable Parameter bias;

  /** A layer with bias. */
  public Linear(Weights weights, int in, int out) {
    this(weights, in, out, true);
  }

  /** A layer with or without bias. */
  public Linear(Weights weights, int in, int out, boolean bias) {
    this(weights, in, out, bias, Init.fanIn(in), Init.fanIn(in));
  }

  /** A layer with its own initial values. */
  public Linear(Weights weights, int in, int out, boolean bias, Init weightInit, Init biasInit) {
    super(weights);
    this.weight = parameter("weight", Shape.of(out, in), weightInit);
    this.bias = bias ? parameter("bias", Shape.of(out), biasInit) : null;
  }

  @Override
  public Parameter weight() {
    return weight;
  }

  @Override
  public Optional<Parameter> bias() {
    return Optional.ofNullable(bias);
  }

  @Override
  protected Tensor base(Tensor x) {
    return NN.linear(x, weight.value(), bias == null ? null : bias.value());
  }
}
