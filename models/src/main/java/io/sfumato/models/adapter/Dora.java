// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * DoRA: magnitude and direction apart, {@code W' = m (W + ΔW) / ‖W + ΔW‖} with the ΔW of {@link
 * Lora} and the norm of each output row, or of each input column as LyCORIS had it first (Liu et
 * al. 2024, <a href="https://arxiv.org/abs/2402.09353">arXiv:2402.09353</a>). The norm counts as
 * constant in gradients, as in the paper. The magnitude is {@code lora_magnitude_vector}, [out] or
 * [1, out, 1, 1], over columns [1, in] or [1, in, 1, 1], and starts as ‖W‖.
 *
 * <p>At another strength than 1 the change W' - W is multiplied, as ComfyUI does. (PEFT multiplies
 * ΔW before the norm is taken; LyCORIS the part of m / ‖W + ΔW‖ beyond 1, which does not lead back
 * to W at strength 0.)
 *
 * @param lora rank, scale and dropout of ΔW
 * @param overInputs whether norms are of input columns (LyCORIS's {@code wd_on_out = false})
 */
public record Dora(Lora lora, boolean overInputs) implements AdapterKind {
  /** With norms of output rows. */
  public Dora(Lora lora) {
    this(lora, false);
  }

  @Override
  public @Nullable PeftForm peft() {
    PeftForm form = lora.peft();
    if (form == null || overInputs) {
      return null; // LyCORIS's alone
    }
    Map<String, Object> settings = new HashMap<>(form.settings());
    settings.put("use_dora", true);
    return new PeftForm(
        form.type(), settings, form.rankKey(), form.rank(), form.alphaKey(), form.alpha());
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    if (overInputs && (lora.dropout() > 0 || lora.rankDropout() > 0)) {
      return "DoRA over inputs has no dropout";
    }
    return switch (layer) {
      case Linear l when lora.bias() -> "DoRA has no bias on B";
      case Linear l -> null;
      case Conv2d c when c.options().groups() > 1 -> "DoRA needs a convolution of one group";
      case Conv2d c when lora.bias() -> "DoRA has no bias on B";
      case Conv2d c -> null;
      case Embedding e when overInputs -> "DoRA over inputs is defined for Linear and Conv2d";
      case Embedding e -> lora.refuses(e);
      default -> "DoRA is defined for Linear, Conv2d and Embedding";
    };
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  /** The adapter in one layer. */
  static final class Part extends LayerAdapter {
    /** Of f32, so that a row of zeros keeps its magnitude of zero. */
    private static final double LEAST_NORM = 0x1p-23;

    private final AdditiveAdapter direction;
    private final Parameter magnitude;
    private final boolean overInputs;
    private final int
        axis; // of the weight, along which the norms lie: an embedding's outputs are 1

    Part(Dora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      Shape w = weightShape();
      overInputs = kind.overInputs;
      axis = overInputs || layer instanceof Embedding ? 1 : 0;
      int n = w.dim(axis);
      Shape shape =
          w.rank() == 4 ? Shape.of(1, n, 1, 1) : overInputs ? Shape.of(1, n) : Shape.of(n);
      direction = child("direction", ignored -> kind.lora.build(layer, weights, null));
      magnitude =
          parameter(
              "lora_magnitude_vector",
              shape,
              (spec, rng) -> norm(weight()).reshape(spec.shape().dims()).to(spec.dtype()));
    }

    /** ‖W‖ of each output row, [out, 1, …], or input column, [1, in, …]. */
    private Tensor norm(Tensor weight) {
      int[] rest =
          IntStream.range(0, weight.rank()).filter(dimension -> dimension != axis).toArray();
      return Num.sqrt(Num.sum(Num.square(weight), true, rest));
    }

    /** The shape of the norms: the weight's, but for the axes that are summed. */
    int[] normShape() {
      int[] shape = new int[weightShape().rank()];
      Arrays.fill(shape, 1);
      shape[axis] = weightShape().dim(axis);
      return shape;
    }

    /** m / ‖W + ΔW‖, of the norms' shape. */
    private Tensor factor(Tensor weight) {
      Tensor norm =
          Autograd.noGrad(
              () ->
                  Num.clamp(
                      norm(weight.add(direction.delta().to(weight.dtype()))),
                      LEAST_NORM,
                      Double.MAX_VALUE));
      return magnitude.value().reshape(norm.shape().dims()).div(norm);
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      if (overInputs) { // the weight is formed
        return withMerged(x, base, strength);
      }
      Tensor weight = weight();
      Tensor factor = factor(weight);
      int[] channels = new int[weight.rank() == 4 ? 3 : 1];
      Arrays.fill(channels, 1);
      channels[0] = weight.dim(axis);
      Tensor f = factor.reshape(channels); // beside the output's channels
      Tensor input = direction.dropped(x);
      Tensor own = layer().product(input);
      Tensor adapted = own.add(direction.change(x)).mul(f);
      Tensor change = adapted.sub(own);
      return base.apply(x).add(strength == 1 ? change : change.mul(strength));
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      Tensor adapted = weight.add(direction.delta()).mul(factor(weight));
      return weight.add(adapted.sub(weight).mul(strength));
    }
  }
}
