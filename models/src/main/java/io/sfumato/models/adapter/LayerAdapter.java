// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Updates;
import java.util.Map;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The part of an adapter in one layer. Its parameters have the layer's path and the names that PEFT
 * gives them, for example {@code to_q.lora_A.weight}.
 */
public abstract class LayerAdapter extends Module {
  private final WeightLayer layer;

  /**
   * A part whose parameters come from {@code weights}.
   *
   * @param layer the adapted layer; stays its owner's
   * @param weights the source, at the layer's path
   */
  protected LayerAdapter(WeightLayer layer, Weights weights) {
    super(weights);
    this.layer = layer;
  }

  /** The adapted layer. */
  public final WeightLayer layer() {
    return layer;
  }

  /**
   * The layer's output with this adapter.
   *
   * @param x the layer's input
   * @param base the layer, perhaps with other adapters; see {@link WeightLayer#isBase}
   * @param strength factor of the change; 1 as trained, never 0
   */
  public abstract Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength);

  /**
   * The weight that gives, without adapter, the output of {@link #apply}.
   *
   * @param weight the layer's weight, perhaps with other adapters in it
   * @param strength as above
   */
  public abstract Tensor merged(Tensor weight, double strength);

  /** The bias that goes with {@link #merged}: as it was, for most kinds. */
  public Tensor mergedBias(Tensor bias, double strength) {
    return bias;
  }

  /**
   * The tensors as files hold them, by full name: the parameters, for most kinds. What is made for
   * it belongs to the current scope.
   */
  public Map<String, Tensor> storedDict() {
    return stateDict();
  }

  /** Tells that the optimiser has done {@code steps} steps. */
  void stepped(long steps) {}

  /** A parameter that starts as a copy of {@code value}. */
  protected final Parameter copyOf(String name, Tensor value) {
    return parameter(
        name,
        value.shape(),
        (spec, rng) -> {
          Tensor copy = Tensor.zeros(spec);
          Updates.copy(copy, value);
          return copy;
        });
  }

  /** The layer's weight, decoded in the current scope if it is quantised. */
  protected final Tensor weight() {
    return layer.weightValues();
  }

  /** The shape of {@link #weight}, for which nothing is decoded. */
  protected final Shape weightShape() {
    return layer.weight().value().shape();
  }

  /**
   * Computes with the values of the layer's weight. If it is quantised, backward decodes them again
   * and computes {@code body} once more, so that no tape keeps them.
   *
   * @param body is given the weight's values and x
   */
  protected final Tensor withWeight(BinaryOperator<Tensor> body, Tensor x) {
    return layer.quantized().isEmpty()
        ? body.apply(weight(), x)
        : Autograd.checkpoint(in -> body.apply(weight(), in[0]), x);
  }

  /** The layer's output with the weight that {@link #merged} gives; the bias is left alone. */
  protected final Tensor withMerged(Tensor x, UnaryOperator<Tensor> base, double strength) {
    if (layer.isFirst(base)) {
      return withWeight((w, in) -> layer.compute(in, merged(w, strength), bias()), x);
    }
    Tensor change = withWeight((w, in) -> layer.compute(in, merged(w, strength).sub(w), null), x);
    return base.apply(x).add(change);
  }

  /** The layer's bias, or null. */
  protected final @Nullable Tensor bias() {
    return layer.bias().map(Parameter::value).orElse(null);
  }
}
