// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.Linalg;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * LoHa: the elementwise product of two changes of low rank, {@code ΔW = s (B₁A₁ ⊙ B₂A₂)}, so rank
 * up to r² from 2 r (in + out) numbers (FedPara, Hyeon-Woo et al. 2022, <a
 * href="https://arxiv.org/abs/2108.06098">arXiv:2108.06098</a>; LyCORIS). s = α/r. The factors are
 * {@code hada_w1_a} [out, r], {@code hada_w1_b} [r, in · kh · kw] and the same of 2. With {@code
 * effectiveConv} a kernel larger than 1 x 1 has cores {@code hada_t1}, {@code hada_t2} [r, r, kh,
 * kw] and factors [r, out], [r, in]: {@code Σᵢⱼ t[i,j,k,l] b[j,c] a[i,o]}.
 *
 * <p>A linear layer never forms ΔW where that is dearer than a change of rank r²: {@code ΔW = U V}
 * with U [out, r²] the products of the columns of the left factors and V [r², in] those of the rows
 * of the right ones. With more ranks a CPU forms ΔW, and other devices rebuild parts of it from the
 * factors as they need them: linear layers and 1 x 1 convolutions never have a matrix of the
 * weight's size in memory there, forward or backward.
 *
 * @param rank the rank r of each factor
 * @param alpha the numerator α of the scale
 * @param effectiveConv whether convolutions have cores
 * @param rankDropout probability with which an output row of ΔW is dropped in training
 * @param moduleDropout probability with which a layer goes without its adapter in training
 */
public record Loha(
    int rank, double alpha, boolean effectiveConv, double rankDropout, double moduleDropout)
    implements AdapterKind {
  /** Checks the values. */
  public Loha {
    if (rank < 1 || !Double.isFinite(alpha)) {
      throw new IllegalArgumentException(
          "the rank must be positive and alpha finite; got " + rank + " and " + alpha);
    }
    new DeltaDropout(rankDropout, true, moduleDropout); // checks
  }

  /** Rank {@code r}, α = r, no cores. */
  public static Loha rank(int r) {
    return new Loha(r, r, false, 0, 0);
  }

  /** The same with another α. */
  public Loha alpha(double value) {
    return new Loha(rank, value, effectiveConv, rankDropout, moduleDropout);
  }

  /** The same with another rank; α stays. */
  public Loha withRank(int r) {
    return new Loha(r, alpha, effectiveConv, rankDropout, moduleDropout);
  }

  /** The same with cores for convolutions larger than 1 x 1. */
  public Loha effectiveConv(boolean value) {
    return new Loha(rank, alpha, value, rankDropout, moduleDropout);
  }

  /** Reads PEFT's settings. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    PeftConfig.Ranks ranks = config.ranks("alpha");
    config.flag("init_weights", true); // of a fresh adapter
    Loha loha =
        new Loha(
            Math.max(1, ranks.r()),
            ranks.alpha(),
            config.flag("use_effective_conv2d", false),
            config.number("rank_dropout", 0),
            config.number("module_dropout", 0));
    return layer -> loha.withRank(ranks.rankOf(layer)).alpha(ranks.alphaOf(layer));
  }

  @Override
  public @Nullable PeftForm peft() {
    return new PeftForm(
        "LOHA",
        Map.of(
            "use_effective_conv2d", effectiveConv,
            "rank_dropout", rankDropout,
            "module_dropout", moduleDropout,
            "init_weights", true),
        "r",
        rank,
        "alpha",
        alpha);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Linear || layer instanceof Conv2d
        ? null
        : "LoHa is defined for Linear and Conv2d";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends AdditiveAdapter {
    private final double scale;
    private final DeltaDropout dropout;
    private final Parameter a1;
    private final Parameter b1;
    private final Parameter a2;
    private final Parameter b2;
    private final @Nullable Parameter t1;
    private final @Nullable Parameter t2;

    Part(Loha kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      scale = kind.alpha / kind.rank;
      dropout = new DeltaDropout(kind.rankDropout, true, kind.moduleDropout);
      Shape w = weightShape();
      int r = kind.rank;
      int out = w.dim(0);
      boolean cores = kind.effectiveConv && w.rank() == 4 && w.dim(2) * w.dim(3) > 1;
      Shape left = cores ? Shape.of(r, out) : Shape.of(out, r);
      Shape right = cores ? Shape.of(r, w.dim(1)) : Shape.of(r, (int) (w.numel() / out));
      Init ofLeft = Init.fanIn(left.dim(1));
      Init ofRight = Init.fanIn(right.dim(1));
      a1 = parameter("hada_w1_a", left, ofLeft);
      b1 = parameter("hada_w1_b", right, ofRight);
      a2 = parameter("hada_w2_a", left, ofLeft);
      b2 = parameter("hada_w2_b", right, Init.zeros());
      if (cores) {
        Shape core = Shape.of(r, r, w.dim(2), w.dim(3));
        Init ofCore = Init.fanIn((long) r * w.dim(2) * w.dim(3));
        t1 = parameter("hada_t1", core, ofCore);
        t2 = parameter("hada_t2", core, ofCore);
      } else {
        t1 = null;
        t2 = null;
      }
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      if (dropout.skips(path())) {
        return base.apply(x);
      }
      if (actsThin()) {
        return layer() instanceof Linear && layer().isBase(base)
            ? NN.lowRank(x, weight(), bias(), right(), left(), scale * strength)
            : super.apply(x, base, strength);
      }
      if (!rebuilds(x) && mayJoinWeight(base)) {
        Tensor change = dropout.apply(delta(), 0, path()).mul(strength);
        return layer().compute(x, weight().add(change), bias());
      }
      return super.apply(x, base, strength);
    }

    /**
     * Whether ΔW acts as a change of rank r², for it takes less than a third of a full one; then ΔW
     * is never formed but to merge.
     */
    private boolean actsThin() {
      if (dropout.rows() > 0 || (layer() instanceof Conv2d conv && conv.options().groups() > 1)) {
        return false;
      }
      long out = weightShape().dim(0);
      long in = weightShape().numel() / out;
      long r2 = (long) b1.value().dim(0) * b1.value().dim(0);
      return 3 * r2 * (in + out) < in * out;
    }

    /** Whether the op rebuilds ΔW from the factors for each of its parts. */
    private boolean rebuilds(Tensor x) {
      return dropout.rows() == 0
          && !x.device().equals(Device.CPU)
          && (layer() instanceof Linear || (layer() instanceof Conv2d conv && isPointwise(conv)));
    }

    private boolean isPointwise(Conv2d conv) {
      Shape w = weightShape();
      ConvOptions o = conv.options();
      return w.dim(2) * w.dim(3) == 1
          && o.groups() == 1
          && o.stride().stream().allMatch(s -> s == 1)
          && Stream.concat(o.before().stream(), o.after().stream()).allMatch(p -> p == 0);
    }

    private Tensor rebuilt(Tensor x) {
      boolean conv = layer() instanceof Conv2d;
      Tensor rows = conv ? x.permute(0, 2, 3, 1) : x;
      Tensor y =
          Linalg.hadamardLowRank(rows, a1.value(), b1.value(), a2.value(), b2.value(), scale);
      return conv ? y.permute(0, 3, 1, 2) : y;
    }

    /** U [out, r²]: column p r + q is the product of columns p and q. */
    private Tensor left() {
      Tensor one = t1 == null ? a1.value() : a1.value().transpose(0, 1); // [out, r]
      Tensor two = t2 == null ? a2.value() : a2.value().transpose(0, 1);
      int out = one.dim(0);
      return one.reshape(out, -1, 1).mul(two.reshape(out, 1, -1)).reshape(out, -1);
    }

    /** V [r², in · kh · kw]. */
    private Tensor right() {
      Tensor one = rows(t1, b1);
      Tensor two = rows(t2, b2);
      int r = one.dim(0);
      return one.reshape(r, 1, -1).mul(two.reshape(1, r, -1)).reshape(r * r, -1);
    }

    /** The rows [r, in · kh · kw] that A multiplies. */
    private static Tensor rows(@Nullable Parameter core, Parameter b) {
      return core == null
          ? b.value()
          : Num.einsum("ijkl,jc->ickl", core.value(), b.value()).reshape(b.value().dim(0), -1);
    }

    @Override
    protected Tensor change(Tensor x) {
      if (!actsThin()) {
        return rebuilds(x)
            ? rebuilt(x)
            : layer().compute(x, dropout.apply(delta(), 0, path()), null);
      }
      if (layer() instanceof Conv2d conv) {
        Shape w = weightShape();
        Tensor down = right().reshape(-1, w.dim(1), w.dim(2), w.dim(3));
        Tensor h = NN.conv2d(x, down, null, conv.options()); // [B, r², H', W']
        Tensor up = left().reshape(w.dim(0), -1, 1, 1);
        return NN.conv2d(h, up, null, ConvOptions.of()).mul(scale);
      }
      return NN.linear(NN.linear(x, right(), null), left(), null).mul(scale);
    }

    @Override
    protected Tensor delta() {
      Tensor one = factor(t1, a1, b1);
      Tensor two = factor(t2, a2, b2);
      return one.mul(two).mul(scale).reshape(weightShape().dims());
    }

    private static Tensor factor(@Nullable Parameter core, Parameter a, Parameter b) {
      return core == null
          ? a.value().matmul(b.value())
          : Num.einsum("ijkl,jc,io->ockl", core.value(), b.value(), a.value());
    }
  }
}
