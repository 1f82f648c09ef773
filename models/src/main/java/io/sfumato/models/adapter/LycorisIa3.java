// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * (IA)³ in LyCORIS's form: {@code ΔW = W ⊙ weight} with {@code weight} [out, 1, …] or, on the
 * input, [1, in, …], so it starts at zero where PEFT's {@link Ia3} starts at one. The bias is left
 * alone.
 *
 * @param ofInput whether inputs are multiplied
 */
public record LycorisIa3(boolean ofInput) implements AdapterKind {
  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return null;
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(ofInput, layer, weights);
  }

  private static final class Part extends AdditiveAdapter {
    private final Parameter factors;

    Part(boolean ofInput, WeightLayer layer, Weights weights) {
      super(layer, weights);
      int[] shape = new int[weightShape().rank()];
      Arrays.fill(shape, 1);
      int axis = ofInput ? 1 : 0;
      shape[axis] = weightShape().dim(axis);
      factors = parameter("weight", Shape.of(shape), Init.zeros());
    }

    @Override
    protected Tensor change(Tensor x) {
      return withWeight((w, in) -> layer().compute(in, w.mul(factors.value()), null), x);
    }

    @Override
    protected Tensor delta() {
      return weight().mul(factors.value());
    }
  }
}
