// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import org.jspecify.annotations.Nullable;

/**
 * GLoRA: a low-rank change made of the weight itself and one beside it, {@code ΔW = s (W A₁ A₂ + B₁
 * B₂)} (Chavan et al. 2023, <a href="https://arxiv.org/abs/2306.07967">arXiv:2306.07967</a>;
 * LyCORIS). {@code a1} is [in, r], {@code a2} [r, in], {@code b1} [out, r], {@code b2} [r, in]; of
 * convolutions a1, a2 and b1 have a kernel of 1 x 1, and b2 the layer's, or 1 x 1 with a core
 * {@code bm} [r, r, kh, kw] behind it. a2 and b2 start at zero. s = α/r.
 *
 * @param rank the rank r
 * @param alpha the numerator α of the scale
 * @param tucker whether a kernel larger than 1 x 1 has a core
 */
public record Glora(int rank, double alpha, boolean tucker) implements AdapterKind {
  /** Checks the values. */
  public Glora {
    if (rank < 1 || !Double.isFinite(alpha)) {
      throw new IllegalArgumentException(
          "the rank must be positive and alpha finite; got " + rank + " and " + alpha);
    }
  }

  /** Without cores. */
  public Glora(int rank, double alpha) {
    this(rank, alpha, false);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Linear || (layer instanceof Conv2d c && c.options().groups() == 1)
        ? null
        : "GLoRA is defined for Linear and Conv2d of one group";
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
    private final @Nullable Parameter core;

    Part(Glora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      scale = kind.alpha / kind.rank;
      int r = kind.rank;
      Shape w = weightShape();
      int in = w.dim(1);
      boolean conv = w.rank() == 4;
      int pixels = conv ? w.dim(2) * w.dim(3) : 1;
      boolean split = kind.tucker && pixels > 1;
      a1 = parameter("a1.weight", conv ? Shape.of(in, r, 1, 1) : Shape.of(in, r), Init.fanIn(r));
      a2 = parameter("a2.weight", conv ? Shape.of(r, in, 1, 1) : Shape.of(r, in), Init.zeros());
      int out = w.dim(0);
      b1 = parameter("b1.weight", conv ? Shape.of(out, r, 1, 1) : Shape.of(out, r), Init.fanIn(r));
      Shape ofB2 =
          !conv
              ? Shape.of(r, in)
              : split ? Shape.of(r, in, 1, 1) : Shape.of(r, in, w.dim(2), w.dim(3));
      b2 = parameter("b2.weight", ofB2, Init.zeros());
      core =
          split
              ? parameter(
                  "bm.weight", Shape.of(r, r, w.dim(2), w.dim(3)), Init.fanIn((long) r * pixels))
              : null;
    }

    /** W acts on an input of rank r, so W A₁ A₂ costs no second full product of the weight. */
    @Override
    protected Tensor change(Tensor x) {
      Tensor ofInput = of(of(x, a2), a1); // [..., in]
      Tensor down = // [..., r]
          layer() instanceof Conv2d conv
              ? NN.conv2d(
                  core == null ? x : of(x, b2),
                  core == null ? b2.value() : core.value(),
                  null,
                  conv.options())
              : of(x, b2);
      return layer().product(ofInput).add(of(down, b1)).mul(scale);
    }

    /** A linear layer or a 1 x 1 convolution. */
    private Tensor of(Tensor x, Parameter factor) {
      return layer() instanceof Conv2d
          ? NN.conv2d(x, factor.value(), null, ConvOptions.of())
          : NN.linear(x, factor.value(), null);
    }

    @Override
    protected Tensor delta() {
      Tensor w = weight();
      Tensor a = flat(a1).matmul(flat(a2)); // [in, in]
      Tensor ofWeight = w.rank() == 4 ? Num.einsum("oikl,ij->ojkl", w, a) : w.matmul(a);
      Tensor beside =
          core == null
              ? flat(b1).matmul(flat(b2)).reshape(w.shape().dims())
              : Num.einsum("mnkl,om,nj->ojkl", core.value(), flat(b1), flat(b2));
      return ofWeight.add(beside).mul(scale);
    }

    private static Tensor flat(Parameter factor) {
      return factor.value().reshape(factor.value().dim(0), -1);
    }
  }
}
