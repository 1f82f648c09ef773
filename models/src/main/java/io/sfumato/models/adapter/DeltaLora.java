// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Delta-LoRA: LoRA that moves the frozen weight, too, by what each step changes its product (Zi et
 * al. 2023, <a href="https://arxiv.org/abs/2309.02411">arXiv:2309.02411</a>): after step t ≥ K,
 *
 * <pre>W(t+1) = W(t) + λ s (B(t+1) A(t+1) - B(t) A(t)),   s = α/r</pre>
 *
 * <p>and W itself gets no gradient. The sum telescopes: W has moved by {@code λ s (B A - B_K A_K)},
 * with the factors as they were after K steps. So the weight is not touched here; that change, of
 * rank 2r and constant for gradients, is computed from the factors, and the buffers {@code delta_A}
 * and {@code delta_B} hold those of step K. {@link AdapterSet#stepped} must be called after each
 * optimiser step.
 *
 * <p>Files hold the total change as plain {@link Lora}: {@code [(1 + λ) B, -λ B_K] [A; A_K]}, of
 * rank r if K = 0 (B starts at 0) and 2r else.
 *
 * @param lora the factors; without dropout, biases and cores
 * @param ratio λ, how much of each step W follows
 * @param start K, the number of steps before W moves
 */
public record DeltaLora(Lora lora, double ratio, long start) implements AdapterKind {
  /** Checks the values. */
  public DeltaLora {
    if (lora.dropout() > 0 || lora.rankDropout() > 0 || lora.bias() || lora.tucker()) {
      throw new IllegalArgumentException(
          "Delta-LoRA has no dropout, bias on B or core between its factors; got " + lora);
    }
    if (!Double.isFinite(ratio) || start < 0) {
      throw new IllegalArgumentException(
          "the ratio must be finite and the start not negative; got " + ratio + " and " + start);
    }
  }

  @Override
  public Lora stored() {
    int rank = start == 0 ? lora.rank() : 2 * lora.rank();
    return Lora.rank(rank).alpha(lora.scale() * rank);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return LowRank.refuses(layer);
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends LayerAdapter {
    private final DeltaLora kind;
    private final Parameter a;
    private final Parameter b;
    private final Parameter oldA;
    private final Parameter oldB;
    private final Parameter moving; // 1 once W moves, else 0

    Part(DeltaLora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.kind = kind;
      int r = kind.lora.rank();
      Shape ofA = LowRank.shapeOfA(layer, r);
      Shape ofB = LowRank.shapeOfB(layer, r);
      a = parameter("lora_A.weight", ofA, Init.fanIn(ofA.numel() / r));
      b = parameter("lora_B.weight", ofB, Init.zeros());
      oldA = buffer("delta_A", ofA, Init.zeros());
      oldB = buffer("delta_B", ofB, Init.zeros());
      moving = buffer("delta_moving", Shape.of(1), Init.constant(kind.start == 0 ? 1 : 0));
    }

    private boolean moves() {
      return moving.value().toDoubleArray()[0] == 1;
    }

    @Override
    void stepped(long steps) {
      if (steps >= kind.start && !moves()) {
        Updates.copy(oldA.value(), a.value());
        Updates.copy(oldB.value(), b.value());
        Updates.copy(moving.value(), Tensor.ones(1).to(moving.value().dtype()).to(device()));
      }
    }

    private Device device() {
      return moving.value().device();
    }

    private LowRank branch(double strength) {
      return new LowRank(a.value(), b.value(), kind.lora.scale() * strength);
    }

    /** By how much W has moved: constant for gradients. */
    private LowRank moved(double strength) {
      Tensor nowA = Autograd.detach(a.value());
      Tensor nowB = Autograd.detach(b.value());
      double scale = kind.ratio * kind.lora.scale() * strength;
      return kind.start == 0
          ? new LowRank(nowA, nowB, scale)
          : new LowRank(
              Shaping.concat(0, nowA, oldA.value()),
              Shaping.concat(1, nowB, oldB.value().mul(-1)),
              scale);
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      Tensor y = branch(strength).apply(layer(), x, base);
      return moves() ? y.add(moved(strength).change(layer(), x)) : y;
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      Tensor adapted = weight.add(branch(strength).delta(layer()));
      return moves() ? adapted.add(moved(strength).delta(layer())) : adapted;
    }

    @Override
    public Map<String, Tensor> storedDict() {
      double follow = moves() ? kind.ratio : 0;
      Tensor up = b.value().mul(1 + follow);
      boolean whole = kind.start == 0;
      return Map.of(
          path() + ".lora_A.weight",
          whole ? a.value() : Shaping.concat(0, a.value(), oldA.value()),
          path() + ".lora_B.weight",
          whole ? up : Shaping.concat(1, up, oldB.value().mul(-follow)));
    }
  }
}
