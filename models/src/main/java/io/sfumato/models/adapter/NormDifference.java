// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.Norm;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A change of a normalisation's weight and bias: {@code w' = w + w_norm}, {@code b' = b + b_norm},
 * both [C], starting at zero (LyCORIS's norm module, modules/norms.py; {@code train_norm} there).
 */
public record NormDifference() implements AdapterKind {
  @Override
  public boolean adaptsNorms() {
    return true;
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Norm norm && norm.isAffine()
        ? null
        : "the kind is defined for LayerNorm and GroupNorm with a weight";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(layer, weights);
  }

  private static final class Part extends LayerAdapter {
    private final Parameter ofWeight;
    private final @Nullable Parameter ofBias;

    Part(WeightLayer layer, Weights weights) {
      super(layer, weights);
      ofWeight = parameter("w_norm", weight().shape(), Init.zeros());
      Tensor b = bias();
      ofBias = b == null ? null : parameter("b_norm", b.shape(), Init.zeros());
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      Tensor b = bias();
      if (layer().isBase(base)) {
        return layer()
            .compute(x, merged(weight(), strength), b == null ? null : mergedBias(b, strength));
      }
      Tensor change = layer().compute(x, ofWeight.value(), ofBias == null ? null : ofBias.value());
      return base.apply(x).add(strength == 1 ? change : change.mul(strength));
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      return weight.add(ofWeight.value().mul(strength));
    }

    @Override
    public Tensor mergedBias(Tensor bias, double strength) {
      return ofBias == null ? bias : bias.add(ofBias.value().mul(strength));
    }
  }
}
