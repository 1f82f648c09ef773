// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import org.jspecify.annotations.Nullable;

/**
 * GLoRA: a low-rank change made of the weight itself and one beside it, {@code ΔW = s (W A₁ A₂ + B₁
 * B₂)} (Chavan et al. 2023, <a href="https://arxiv.org/abs/2306.07967">arXiv:2306.07967</a>;
 * LyCORIS), of linear layers. {@code a1} is [in, r], {@code a2} [r, in], {@code b1} [out, r],
 * {@code b2} [r, in]; a2 and b2 start at zero. s = α/r.
 *
 * @param rank the rank r
 * @param alpha the numerator α of the scale
 */
public record Glora(int rank, double alpha) implements AdapterKind {
  /** Checks the values. */
  public Glora {
    if (rank < 1 || !Double.isFinite(alpha)) {
      throw new IllegalArgumentException(
          "the rank must be positive and alpha finite; got " + rank + " and " + alpha);
    }
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Linear ? null : "GLoRA is defined for Linear here";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends AdditiveAdapter {
    private final double scale;
    private final Parameter a1;
    private final Parameter a2;
    private final Parameter b1;
    private final Parameter b2;

    Part(Glora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      scale = kind.alpha / kind.rank;
      int r = kind.rank;
      int in = weight().dim(1);
      a1 = parameter("a1.weight", Shape.of(in, r), Init.fanIn(r));
      a2 = parameter("a2.weight", Shape.of(r, in), Init.zeros());
      b1 = parameter("b1.weight", Shape.of(weight().dim(0), r), Init.fanIn(r));
      b2 = parameter("b2.weight", Shape.of(r, in), Init.zeros());
    }

    /** W acts on an input of rank r, so W A₁ A₂ costs no second full product of the weight. */
    @Override
    protected Tensor change(Tensor x) {
      Tensor ofInput = NN.linear(NN.linear(x, a2.value(), null), a1.value(), null);
      Tensor beside = NN.linear(NN.linear(x, b2.value(), null), b1.value(), null);
      return NN.linear(ofInput, weight(), null).add(beside).mul(scale);
    }

    @Override
    protected Tensor delta() {
      Tensor ofWeight = weight().matmul(a1.value()).matmul(a2.value());
      return ofWeight.add(b1.value().matmul(b2.value())).mul(scale);
    }
  }
}
