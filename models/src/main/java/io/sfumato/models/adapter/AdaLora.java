// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * AdaLoRA: a change in the form of a singular value decomposition, {@code ΔW = s B diag(E) A},
 * whose singular values are pruned while it trains (Zhang et al. 2023, <a
 * href="https://arxiv.org/abs/2303.10512">arXiv:2303.10512</a>; {@link AdaLoraBudget} prunes). A is
 * [r, in], B [out, r], E [r, 1]; their names, {@code lora_A}, {@code lora_B}, {@code lora_E}, have
 * no {@code .weight} in PEFT. {@code s = α / (initial rank + 1e-5)}, whatever is left of the rank.
 *
 * @param rank the rank r that is stored
 * @param initialRank the rank before pruning, which the scale is made of
 * @param alpha the numerator α of the scale
 * @param dropout probability with which elements of the input are dropped in training
 */
public record AdaLora(int rank, int initialRank, double alpha, double dropout)
    implements AdapterKind {
  /** Checks the values. */
  public AdaLora {
    if (rank < 0 || initialRank < 1 || !Double.isFinite(alpha)) {
      throw new IllegalArgumentException(
          "ranks must be positive and alpha finite; got "
              + rank
              + ", "
              + initialRank
              + " and "
              + alpha);
    }
    if (!(dropout >= 0 && dropout < 1)) {
      throw new IllegalArgumentException("the dropout must be in [0, 1); got " + dropout);
    }
  }

  /** Without dropout. */
  public AdaLora(int rank, int initialRank, double alpha) {
    this(rank, initialRank, alpha, 0);
  }

  /** The same with dropout of the input. */
  public AdaLora dropout(double p) {
    return new AdaLora(rank, initialRank, alpha, p);
  }

  /** A fresh adapter of initial rank {@code r} and α = r. */
  public static AdaLora rank(int r) {
    return new AdaLora(r, r, r);
  }

  /** The same with another α. */
  public AdaLora alpha(double value) {
    return new AdaLora(rank, initialRank, value, dropout);
  }

  /** Reads PEFT's settings; those of the budget matter to training alone. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    int initial = config.positive("init_r", 12);
    double alpha = config.number("lora_alpha", 8);
    for (String budget :
        new String[] {"r", "target_r", "tinit", "tfinal", "deltaT", "total_step"}) {
      config.number(budget, 0);
    }
    for (String budget : new String[] {"beta1", "beta2", "orth_reg_weight"}) {
      config.number(budget, 0);
    }
    double dropout = config.number("lora_dropout", 0);
    config.firstValues("init_lora_weights");
    Map<String, Integer> kept = config.keptRanks("rank_pattern", ".lora_E");
    return layer ->
        new AdaLora(kept.getOrDefault(layer.path(), initial), Math.max(1, initial), alpha, dropout);
  }

  @Override
  public @Nullable PeftForm peft() {
    return new PeftForm(
        "ADALORA",
        Map.of("init_r", initialRank, "init_lora_weights", true, "lora_dropout", dropout),
        "rank_pattern", // of its own form: see PeftFolder
        rank,
        "lora_alpha",
        alpha);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Linear ? null : "AdaLoRA is defined for Linear";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  /** The adapter in one layer. */
  static final class Part extends AdditiveAdapter {
    private final double scale;
    private final Dropout dropout;
    private final boolean drops;
    private final Parameter a;
    private final Parameter b;
    private final Parameter e;

    Part(AdaLora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      scale = kind.alpha / (kind.initialRank + 1e-5);
      dropout = child("lora_dropout", w -> new Dropout(w, kind.dropout));
      drops = kind.dropout > 0;
      int r = kind.rank;
      a = parameter("lora_A", Shape.of(r, weightShape().dim(1)), Init.normal(0.02));
      b = parameter("lora_B", Shape.of(weightShape().dim(0), r), Init.normal(0.02));
      e = parameter("lora_E", Shape.of(r, 1), Init.zeros());
    }

    /** A [r, in]. */
    Parameter a() {
      return a;
    }

    /** B [out, r]. */
    Parameter b() {
      return b;
    }

    /** The singular values E [r, 1]. */
    Parameter e() {
      return e;
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      if (!layer().isBase(base) || (drops && Dropout.isActive())) {
        return super.apply(x, base, strength);
      }
      Tensor down = a.value().mul(e.value());
      return NN.lowRank(x, weight(), bias(), down, b.value(), scale * strength);
    }

    @Override
    protected Tensor change(Tensor x) {
      Tensor h = NN.linear(drops ? dropout.call(x) : x, a.value().mul(e.value()), null);
      return NN.linear(h, b.value(), null).mul(scale);
    }

    @Override
    protected Tensor delta() {
      return b.value().matmul(a.value().mul(e.value())).mul(scale);
    }
  }
}
