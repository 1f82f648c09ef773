// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A change of full rank, kept beside the weight: {@code W' = W + diff}, {@code b' = b + diff_b}
 * (LyCORIS's full, the "diff" of kohya's tools). Both start at zero.
 *
 * @param bias whether the bias changes, too
 */
public record FullDifference(boolean bias) implements AdapterKind {
  @Override
  public boolean adaptsNorms() {
    return true;
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return bias && layer.bias().isEmpty() ? "the layer has no bias to change" : null;
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(bias, layer, weights);
  }

  private static final class Part extends AdditiveAdapter {
    private final Parameter diff;
    private final @Nullable Parameter ofBias;

    Part(boolean bias, WeightLayer layer, Weights weights) {
      super(layer, weights);
      diff = parameter("diff", weightShape(), Init.zeros());
      Tensor b = bias();
      ofBias = bias && b != null ? parameter("diff_b", b.shape(), Init.zeros()) : null;
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      Tensor b = bias();
      if (!layer().isBase(base)) {
        return super.apply(x, base, strength);
      }
      return layer()
          .compute(x, merged(weight(), strength), b == null ? null : mergedBias(b, strength));
    }

    @Override
    protected Tensor change(Tensor x) {
      return layer().compute(x, diff.value(), ofBias == null ? null : ofBias.value());
    }

    @Override
    protected Tensor delta() {
      return diff.value();
    }

    @Override
    public Tensor mergedBias(Tensor bias, double strength) {
      return ofBias == null ? bias : bias.add(ofBias.value().mul(strength));
    }
  }
}
