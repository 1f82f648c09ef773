// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Conv2d;
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
import org.jspecify.annotations.Nullable;

/**
 * DoRA: magnitude and direction apart, {@code W' = m (W + ΔW) / ‖W + ΔW‖} with the ΔW of {@link
 * Lora} and the norm of each output row (Liu et al. 2024, <a
 * href="https://arxiv.org/abs/2402.09353">arXiv:2402.09353</a>). The norm counts as constant in
 * gradients, as in the paper. The magnitude is {@code lora_magnitude_vector}, [out] or [1, out, 1,
 * 1], and starts as ‖W‖.
 *
 * <p>At another strength than 1 the change W' - W is multiplied.
 *
 * @param lora rank, scale and dropout of ΔW
 */
public record Dora(Lora lora) implements AdapterKind {
  @Override
  public @Nullable PeftForm peft() {
    PeftForm form = lora.peft();
    if (form == null) {
      return null;
    }
    Map<String, Object> settings = new HashMap<>(form.settings());
    settings.put("use_dora", true);
    return new PeftForm(
        form.type(), settings, form.rankKey(), form.rank(), form.alphaKey(), form.alpha());
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return switch (layer) {
      case Linear l when lora.bias() -> "DoRA has no bias on B";
      case Linear l -> null;
      case Conv2d c when c.options().groups() > 1 -> "DoRA needs a convolution of one group";
      case Conv2d c -> null;
      default -> "DoRA is defined for Linear and Conv2d";
    };
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends LayerAdapter {
    private final AdditiveAdapter direction;
    private final Parameter magnitude;

    Part(Dora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      Shape w = weight().shape();
      Shape shape = w.rank() == 4 ? Shape.of(1, w.dim(0), 1, 1) : Shape.of(w.dim(0));
      direction = child("direction", ignored -> kind.lora.build(layer, weights, null));
      magnitude =
          parameter(
              "lora_magnitude_vector",
              shape,
              (spec, rng) -> norm(weight()).reshape(spec.shape().dims()).to(spec.dtype()));
    }

    /** ‖W‖ of each output row, [out, 1, …]. */
    private static Tensor norm(Tensor weight) {
      int[] rest = new int[weight.rank() - 1];
      Arrays.setAll(rest, i -> i + 1);
      return Num.sqrt(Num.sum(Num.square(weight), true, rest));
    }

    /** m / ‖W + ΔW‖, [out, 1, …]. */
    private Tensor factor(Tensor weight) {
      Tensor norm = Autograd.noGrad(() -> norm(weight.add(direction.delta().to(weight.dtype()))));
      return magnitude.value().reshape(norm.shape().dims()).div(norm);
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      Tensor weight = weight();
      Tensor factor = factor(weight);
      int[] channels = new int[weight.rank() == 4 ? 3 : 1];
      Arrays.fill(channels, 1);
      channels[0] = weight.dim(0);
      Tensor f = factor.reshape(channels); // beside the output's channels
      Tensor input = direction.dropped(x);
      Tensor own = layer().compute(input, weight, null);
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
