// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * DyLoRA: LoRA whose lower ranks are adapters of their own (Valipour et al. 2022, <a
 * href="https://arxiv.org/abs/2210.07558">arXiv:2210.07558</a>), by the rules of kohya's
 * networks/dylora.py. The rank r is cut into blocks of {@code unit}. In training ({@link
 * Dropout#active}) each layer draws one block anew; the blocks up to it are used, it alone trains,
 * and the scale is {@code α/r · √(r / ranks in use)}. Elsewhere all blocks are used, at α/r.
 *
 * <p>One difference from kohya: there the blocks behind the one that trains take part in the
 * product, frozen. Here they are left out, as in the paper, for else no lower rank would ever be
 * trained to stand alone.
 *
 * <p>Files hold plain {@link Lora}, at the full rank or, with {@link #cut}, at a lower one.
 *
 * @param rank the rank r
 * @param unit ranks in a block; divides r
 * @param alpha the numerator α of the scale
 */
public record DyLora(int rank, int unit, double alpha) implements AdapterKind {
  /** Checks the values. */
  public DyLora {
    if (rank < 1 || unit < 1 || rank % unit != 0 || !Double.isFinite(alpha)) {
      throw new IllegalArgumentException(
          "the rank must be a multiple of the unit, alpha finite; got "
              + rank
              + ", "
              + unit
              + " and "
              + alpha);
    }
  }

  /** Rank {@code r} in blocks of {@code unit}, α = r. */
  public static DyLora rank(int r, int unit) {
    return new DyLora(r, unit, r);
  }

  /** The same with another α. */
  public DyLora alpha(double value) {
    return new DyLora(rank, unit, value);
  }

  /** The factor of B A when {@code used} ranks are in use. */
  public double scale(int used) {
    return alpha / rank * Math.sqrt((double) rank / used);
  }

  /** The plain LoRA of the first {@code used} ranks. */
  private Lora plain(int used) {
    return Lora.rank(used).alpha(scale(used) * used);
  }

  @Override
  public Lora stored() {
    return plain(rank);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return LowRank.refuses(layer);
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  /**
   * A trained adapter at a lower rank, as plain LoRA.
   *
   * @param model gets the result, attached; switch {@code set} off to see what it does
   * @param set stays as it is
   * @param rank a multiple of the unit, at most the rank
   * @throws IllegalArgumentException if a part is not DyLoRA's or has no such rank
   */
  public static AdapterSet cut(Module model, AdapterSet set, int rank) {
    Map<String, Tensor> factors = new LinkedHashMap<>();
    Map<String, Lora> kinds = new LinkedHashMap<>();
    try (Scope scope = Scope.open()) {
      set.parts()
          .forEach(
              (path, part) -> {
                if (!(part instanceof Part dynamic)) {
                  throw new IllegalArgumentException(path + ": only DyLoRA has lower ranks");
                }
                DyLora kind = dynamic.kind;
                if (rank < 1 || rank > kind.rank || rank % kind.unit != 0) {
                  throw new IllegalArgumentException(
                      path + ": the rank must be one of the blocks of " + kind + "; got " + rank);
                }
                factors.putAll(dynamic.plain(rank));
                kinds.put(path, kind.plain(rank));
              });
      try (Weights weights = Weights.from(TensorSource.of(factors))) {
        return AdapterSet.attach(
            model,
            kinds::containsKey,
            layer -> Objects.requireNonNull(kinds.get(layer.path())),
            weights);
      }
    }
  }

  private static final class Part extends LayerAdapter {
    private final DyLora kind;
    private final List<Parameter> a = new ArrayList<>(); // [unit, in, …] each
    private final List<Parameter> b = new ArrayList<>(); // [out, unit, …] each

    Part(DyLora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.kind = kind;
      long in = weightShape().numel() / weightShape().dim(0);
      for (int i = 0; i < kind.rank / kind.unit; i++) {
        a.add(
            parameter(
                "lora_A." + i + ".weight", LowRank.shapeOfA(layer, kind.unit), Init.fanIn(in)));
        b.add(
            parameter("lora_B." + i + ".weight", LowRank.shapeOfB(layer, kind.unit), Init.zeros()));
      }
    }

    /** The blocks before {@code end}, of which {@code trained} alone trains, or all if it is -1. */
    private LowRank blocks(int end, int trained, double strength) {
      List<Tensor> as = new ArrayList<>();
      List<Tensor> bs = new ArrayList<>();
      for (int i = 0; i < end; i++) {
        boolean trains = trained < 0 || i == trained;
        as.add(trains ? a.get(i).value() : Autograd.detach(a.get(i).value()));
        bs.add(trains ? b.get(i).value() : Autograd.detach(b.get(i).value()));
      }
      double scale = kind.scale(end * kind.unit) * strength;
      return new LowRank(Shaping.concat(0, as), Shaping.concat(1, bs), scale);
    }

    private LowRank all(double strength) {
      return blocks(a.size(), -1, strength);
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      LowRank now =
          Dropout.current()
              .map(
                  rng -> {
                    float draw = rng.fork(path()).fork("block").uniform(1).toFloatArray()[0];
                    int block = Math.min(a.size() - 1, (int) (draw * a.size()));
                    return blocks(block + 1, block, strength);
                  })
              .orElseGet(() -> all(strength));
      return now.apply(layer(), x, base);
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      return weight.add(all(strength).delta(layer()));
    }

    Map<String, Tensor> plain(int rank) {
      LowRank used = blocks(rank / kind.unit, -1, 1);
      return Map.of(path() + ".lora_A.weight", used.a(), path() + ".lora_B.weight", used.b());
    }

    @Override
    public Map<String, Tensor> storedDict() {
      return plain(kind.rank);
    }
  }
}
