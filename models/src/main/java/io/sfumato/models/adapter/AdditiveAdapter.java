// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.function.UnaryOperator;

/**
 * An adapter that adds a change ΔW to the layer's weight: {@code y = base(x) + strength · ΔW(x)}. A
 * kind need only say what ΔW is; it says how ΔW acts on an input without being formed where that is
 * cheaper.
 */
public abstract class AdditiveAdapter extends LayerAdapter {
  /** A part whose parameters come from {@code weights}. */
  protected AdditiveAdapter(WeightLayer layer, Weights weights) {
    super(layer, weights);
  }

  /** The change of the weight at strength 1, of the weight's shape. */
  protected abstract Tensor delta();

  /** The change of the output at strength 1, without bias. */
  protected Tensor change(Tensor x) {
    return layer().compute(x, delta(), null);
  }

  /** The input as {@link #change} sees it: with dropout, in training, if the kind has one. */
  protected Tensor dropped(Tensor x) {
    return x;
  }

  /**
   * Whether the layer may compute with {@code W + ΔW} at once, for two products less than one with
   * each: it has no other adapter before this one, and W's type does not round a small change away.
   */
  protected final boolean mayJoinWeight(UnaryOperator<Tensor> base) {
    DType dtype = layer().weight().value().dtype();
    return layer().isBase(base) && (dtype == DType.F32 || dtype == DType.F64);
  }

  @Override
  public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
    Tensor change = change(x);
    return base.apply(x).add(strength == 1 ? change : change.mul(strength));
  }

  @Override
  public Tensor merged(Tensor weight, double strength) {
    return weight.add(delta().mul(strength));
  }
}
