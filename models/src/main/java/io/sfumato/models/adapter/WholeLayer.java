// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.Norm;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A layer that is trained as a whole and kept beside the model: it computes with a weight and bias
 * of its own, which start as copies. PEFT's {@code modules_to_save}, for new heads and for what is
 * too small for factors, normalisations among them. Other parts of the set say where LoRA sits:
 *
 * {@snippet :
 * AdapterSet.attach(
 *     unet,
 *     Targets.glob("**.to_*", "conv_out"),
 *     layer -> layer.path().equals("conv_out") ? new WholeLayer() : Lora.rank(8),
 *     rng);
 * }
 *
 * <p>At another strength s than 1 the weight is {@code W + s (W' - W)}.
 */
public record WholeLayer() implements AdapterKind {
  @Override
  public boolean adaptsNorms() {
    return true;
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Norm norm && !norm.isAffine() ? "the layer has no weight" : null;
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(layer, weights);
  }

  private static final class Part extends LayerAdapter {
    private final Parameter own;
    private final @Nullable Parameter ownBias;

    Part(WeightLayer layer, Weights weights) {
      super(layer, weights);
      own = copyOf("weight", weight());
      Tensor b = bias();
      ownBias = b == null ? null : copyOf("bias", b);
    }

    private @Nullable Tensor biasNow() {
      return ownBias == null ? null : ownBias.value();
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      Tensor b = biasNow();
      if (strength == 1 && layer().isBase(base)) {
        return layer().compute(x, own.value(), b);
      }
      Tensor before = bias();
      Tensor change =
          layer()
              .compute(
                  x, own.value().sub(weight()), b == null || before == null ? null : b.sub(before));
      return base.apply(x).add(strength == 1 ? change : change.mul(strength));
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      return between(weight, own.value(), strength);
    }

    @Override
    public Tensor mergedBias(Tensor bias, double strength) {
      return ownBias == null ? bias : between(bias, ownBias.value(), strength);
    }

    private static Tensor between(Tensor from, Tensor to, double strength) {
      return strength == 1 ? to : from.add(to.sub(from).mul(strength));
    }
  }
}
