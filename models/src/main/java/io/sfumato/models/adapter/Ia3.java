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
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * (IA)³: one learned factor per channel (Liu et al. 2022, <a
 * href="https://arxiv.org/abs/2205.05638">arXiv:2205.05638</a>), of the outputs, {@code l ⊙ (W x +
 * b)}, or of the inputs, {@code W (l ⊙ x) + b}. {@code ia3_l} is [out, 1] or [1, in] for a linear
 * layer, [1, out, 1, 1] or [1, in, 1, 1] for a convolution, and starts as 1. At strength μ the
 * factors are 1 + μ (l - 1).
 *
 * @param ofInput whether inputs are multiplied, as PEFT does in feed-forward modules
 */
public record Ia3(boolean ofInput) implements AdapterKind {
  /** Marks, in {@link #peft}, the layers of PEFT's {@code feedforward_modules}. */
  static final String OF_INPUT = "of_input";

  /** Reads PEFT's settings. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    config.flag("init_ia3_weights", true); // of a fresh adapter
    Predicate<String> feedForward = config.rule("feedforward_modules");
    return layer -> new Ia3(feedForward.test(layer.path()));
  }

  @Override
  public @Nullable PeftForm peft() {
    return new PeftForm(
        "IA3",
        Map.of("init_ia3_weights", true, "fan_in_fan_out", false, OF_INPUT, ofInput),
        "",
        0,
        "",
        0);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Linear || (layer instanceof Conv2d c && c.options().groups() == 1)
        ? null
        : "(IA)³ is defined for Linear and Conv2d of one group";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(ofInput, layer, weights);
  }

  private static final class Part extends LayerAdapter {
    private final boolean ofInput;
    private final boolean conv;
    private final Parameter l;

    Part(boolean ofInput, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.ofInput = ofInput;
      Shape w = weightShape();
      conv = w.rank() == 4;
      int n = w.dim(ofInput ? 1 : 0);
      Shape linear = ofInput ? Shape.of(1, n) : Shape.of(n, 1);
      l = parameter("ia3_l", conv ? Shape.of(1, n, 1, 1) : linear, Init.ones());
    }

    /** 1 + μ (l - 1), flat. */
    private Tensor factors(double strength) {
      Tensor flat = l.value().reshape(-1);
      return strength == 1 ? flat : flat.sub(1).mul(strength).add(1);
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      Tensor f = factors(strength);
      Tensor beside = conv ? f.reshape(-1, 1, 1) : f;
      return ofInput ? base.apply(x.mul(beside)) : base.apply(x).mul(beside);
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      int[] shape = new int[weight.rank()];
      java.util.Arrays.fill(shape, 1);
      shape[ofInput ? 1 : 0] = -1;
      return weight.mul(factors(strength).reshape(shape));
    }

    @Override
    public Tensor mergedBias(Tensor bias, double strength) {
      return ofInput ? bias : bias.mul(factors(strength));
    }
  }
}
