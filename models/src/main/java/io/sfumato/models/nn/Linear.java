// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.CodedTensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;
import java.util.List;
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

  /**
   * The results of several layers of one input. Off the CPU, where every launch costs, they are one
   * product of the joined weights, unless a layer has an adapter or is quantised, or only some have
   * a bias.
   *
   * @param x [..., in]
   * @param layers of one input width
   * @return [..., out] of each layer, perhaps views of one tensor
   */
  public static List<Tensor> callAll(Tensor x, Linear... layers) {
    boolean plain = !x.device().isCpu();
    for (Linear layer : layers) {
      plain &= layer.adapters().isEmpty() && layer.quantized().isEmpty();
      plain &= (layer.bias == null) == (layers[0].bias == null);
    }
    if (plain) {
      return joined(x, layers);
    }
    return Arrays.stream(layers).map(layer -> layer.call(x)).toList();
  }

  static List<Tensor> joined(Tensor x, Linear... layers) {
    Tensor[] weights = new Tensor[layers.length];
    Tensor[] biases = new Tensor[layers.length];
    int[] sizes = new int[layers.length];
    for (int i = 0; i < layers.length; i++) {
      weights[i] = layers[i].weight().value();
      sizes[i] = weights[i].dim(0);
      if (layers[i].bias != null) {
        biases[i] = layers[i].bias.value();
      }
    }
    Tensor bias = layers[0].bias == null ? null : Shaping.concat(0, biases);
    return Shaping.split(NN.linear(x, Shaping.concat(0, weights), bias), sizes, -1);
  }

  @Override
  public Parameter weight() {
    return current(weight);
  }

  @Override
  public Optional<Parameter> bias() {
    return Optional.ofNullable(bias);
  }

  @Override
  public Tensor compute(Tensor x, Tensor w, @Nullable Tensor b) {
    return NN.linear(x, w, b);
  }

  @Override
  public @Nullable String refusesQuantization() {
    return null;
  }

  @Override
  protected Tensor computeCoded(Tensor x, CodedTensor w, @Nullable Tensor b) {
    return w.linear(x, b);
  }
}
