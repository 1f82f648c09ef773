// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * LoRA: a change of low rank, {@code ΔW = s B A} with A [r, in] and B [out, r] (Hu et al. 2021, <a
 * href="https://arxiv.org/abs/2106.09685">arXiv:2106.09685</a>), on linear layers, convolutions and
 * embeddings, in the form of PEFT. s is α/r, or α/√r with {@code rankStabilized} (Kalajdzievski
 * 2023, <a href="https://arxiv.org/abs/2312.03732">arXiv:2312.03732</a>). B starts at zero, so a
 * fresh adapter changes nothing.
 *
 * @param rank the rank r
 * @param alpha the numerator α of the scale
 * @param rankStabilized whether the scale is α/√r
 * @param dropout probability with which elements of the input are dropped in training
 * @param rankDropout probability with which a whole row of A x is dropped in training
 * @param bias whether B has a bias of its own, named {@code lora_B.bias} ({@code lora_bias} in
 *     PEFT)
 * @param tucker whether a convolution's A is split into a 1 x 1 one and a core [r, r, k, k] between
 *     (LoCon's {@code lora_mid})
 */
public record Lora(
    int rank,
    double alpha,
    boolean rankStabilized,
    double dropout,
    double rankDropout,
    boolean bias,
    boolean tucker)
    implements AdapterKind {
  /** Checks the values. */
  public Lora {
    if (rank < 1) {
      throw new IllegalArgumentException("the rank must be positive; got " + rank);
    }
    if (!Double.isFinite(alpha)) {
      throw new IllegalArgumentException("alpha must be finite; got " + alpha);
    }
    if (!(dropout >= 0 && dropout < 1 && rankDropout >= 0 && rankDropout < 1)) {
      throw new IllegalArgumentException(
          "dropout and rankDropout must be in [0, 1); got " + dropout + " and " + rankDropout);
    }
  }

  /** Rank {@code r}, α = r, nothing else. */
  public static Lora rank(int r) {
    return new Lora(r, r, false, 0, 0, false, false);
  }

  /** The same with another α. */
  public Lora alpha(double value) {
    return new Lora(rank, value, rankStabilized, dropout, rankDropout, bias, tucker);
  }

  /** The same with another rank; α stays. */
  public Lora withRank(int r) {
    return new Lora(r, alpha, rankStabilized, dropout, rankDropout, bias, tucker);
  }

  /** The same with the scale α/√r. */
  public Lora rankStabilized(boolean value) {
    return new Lora(rank, alpha, value, dropout, rankDropout, bias, tucker);
  }

  /** The same with dropout of the input. */
  public Lora dropout(double p) {
    return new Lora(rank, alpha, rankStabilized, p, rankDropout, bias, tucker);
  }

  /** The same with dropout of ranks; what is kept is divided by 1 - p. */
  public Lora rankDropout(double p) {
    return new Lora(rank, alpha, rankStabilized, dropout, p, bias, tucker);
  }

  /** The same with a bias on B. */
  public Lora bias(boolean value) {
    return new Lora(rank, alpha, rankStabilized, dropout, rankDropout, value, tucker);
  }

  /** The same with a core between the factors of convolutions larger than 1 x 1. */
  public Lora tucker(boolean value) {
    return new Lora(rank, alpha, rankStabilized, dropout, rankDropout, bias, value);
  }

  /** The factor s of B A. */
  public double scale() {
    return alpha / (rankStabilized ? Math.sqrt(rank) : rank);
  }

  @Override
  public @Nullable PeftForm peft() {
    if (tucker || rankDropout > 0) {
      return null; // LyCORIS's alone
    }
    return new PeftForm(
        "LORA",
        Map.of(
            "use_rslora",
            rankStabilized,
            "lora_dropout",
            dropout,
            "lora_bias",
            bias,
            "use_dora",
            false,
            "init_lora_weights",
            true,
            "fan_in_fan_out",
            false),
        "r",
        rank,
        "lora_alpha",
        alpha);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return switch (layer) {
      case Linear l when bias && l.bias().isEmpty() -> "the layer has no bias to add B's to";
      case Linear l -> null;
      case Conv2d c when bias && c.bias().isEmpty() -> "the layer has no bias to add B's to";
      case Conv2d c -> null;
      case Embedding e when bias -> "an embedding has no bias";
      case Embedding e when dropout > 0 || rankDropout > 0 -> "indices cannot be dropped";
      case Embedding e -> null;
      default -> "LoRA is defined for Linear, Conv2d and Embedding";
    };
  }

  @Override
  public AdditiveAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return switch (layer) {
      case Linear l -> new OfLinear(this, l, weights);
      case Conv2d c -> new OfConv2d(this, c, weights);
      case Embedding e -> new OfEmbedding(this, e, weights);
      default -> throw new IllegalArgumentException(layer.path() + ": " + refuses(layer));
    };
  }

  /** Reads PEFT's settings. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    PeftConfig.Ranks ranks = config.ranks("lora_alpha");
    config.firstValues("init_lora_weights");
    Lora lora =
        rank(Math.max(1, ranks.r()))
            .rankStabilized(config.flag("use_rslora", false))
            .dropout(config.number("lora_dropout", 0))
            .bias(config.flag("lora_bias", false));
    boolean dora = config.flag("use_dora", false);
    return layer -> {
      Lora here = lora.withRank(ranks.rankOf(layer)).alpha(ranks.alphaOf(layer));
      return dora ? new Dora(here) : here;
    };
  }

  /**
   * {@code ΔW = scale · B A} of a layer, flattened to matrices.
   *
   * @param a [r, in · kh · kw], of an embedding [r, number of its rows]
   * @param b [out, r]
   * @param scale the factor
   */
  record Product(Tensor a, Tensor b, double scale) {}

  /** An adapter whose change may be a plain product. */
  interface HasProduct {
    /** Whether it is one: nothing stands between the factors. */
    default boolean isProduct() {
      return true;
    }

    /** Its factors, in f64. */
    Product product();
  }

  private static final class OfLinear extends AdditiveAdapter implements HasProduct {
    private final double scale;
    private final Parameter a;
    private final Parameter b;
    private final @Nullable Parameter biasOfB;
    private final LoraDropout dropout;

    OfLinear(Lora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      int in = weightShape().dim(1);
      int out = weightShape().dim(0);
      scale = kind.scale();
      a = parameter("lora_A.weight", Shape.of(kind.rank, in), Init.fanIn(in));
      b = parameter("lora_B.weight", Shape.of(out, kind.rank), Init.zeros());
      biasOfB = kind.bias ? parameter("lora_B.bias", Shape.of(out), Init.zeros()) : null;
      dropout = child("lora_dropout", w -> new LoraDropout(w, kind));
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      if (!layer().isBase(base) || biasOfB != null || dropout.acts()) {
        return super.apply(x, base, strength);
      }
      return NN.lowRank(x, weight(), bias(), a.value(), b.value(), scale * strength);
    }

    @Override
    protected Tensor dropped(Tensor x) {
      return dropout.ofInput(x);
    }

    @Override
    protected Tensor change(Tensor x) {
      Tensor h = NN.linear(dropout.ofInput(x), a.value(), null); // [..., r]
      Tensor bias = biasOfB == null ? null : biasOfB.value();
      return NN.linear(dropout.ofRank(h, -1), b.value(), bias).mul(scale);
    }

    @Override
    public Product product() {
      return new Product(a.value().to(DType.F64), b.value().to(DType.F64), scale);
    }

    @Override
    protected Tensor delta() {
      return b.value().matmul(a.value()).mul(scale);
    }

    @Override
    public Tensor mergedBias(Tensor bias, double strength) {
      return biasOfB == null ? bias : bias.add(biasOfB.value().mul(scale * strength));
    }
  }

  private static final class OfConv2d extends AdditiveAdapter implements HasProduct {
    private final double scale;
    private final ConvOptions options;
    private final Parameter a;
    private final @Nullable Parameter core;
    private final Parameter b;
    private final @Nullable Parameter biasOfB;
    private final LoraDropout dropout;

    OfConv2d(Lora kind, Conv2d layer, Weights weights) {
      super(layer, weights);
      Shape w = weightShape();
      int r = kind.rank;
      int in = w.dim(1) * layer.options().groups();
      boolean split = kind.tucker && w.dim(2) * w.dim(3) > 1;
      int kh = split ? 1 : w.dim(2);
      int kw = split ? 1 : w.dim(3);
      scale = kind.scale();
      options = layer.options().groups(1);
      a = parameter("lora_A.weight", Shape.of(r, in, kh, kw), Init.fanIn((long) in * kh * kw));
      core =
          split
              ? parameter(
                  "lora_mid.weight",
                  Shape.of(r, r, w.dim(2), w.dim(3)),
                  Init.fanIn((long) r * w.dim(2) * w.dim(3)))
              : null;
      b = parameter("lora_B.weight", Shape.of(w.dim(0), r, 1, 1), Init.zeros());
      biasOfB = kind.bias ? parameter("lora_B.bias", Shape.of(w.dim(0)), Init.zeros()) : null;
      dropout = child("lora_dropout", c -> new LoraDropout(c, kind));
    }

    @Override
    protected Tensor dropped(Tensor x) {
      return dropout.ofInput(x);
    }

    @Override
    protected Tensor change(Tensor x) {
      Tensor dropped = dropout.ofInput(x);
      Tensor h = // [B, r, H', W']
          core == null
              ? NN.conv2d(dropped, a.value(), null, options)
              : NN.conv2d(
                  NN.conv2d(dropped, a.value(), null, ConvOptions.of()),
                  core.value(),
                  null,
                  options);
      Tensor bias = biasOfB == null ? null : biasOfB.value();
      return NN.conv2d(dropout.ofRank(h, 1), b.value(), bias, ConvOptions.of()).mul(scale);
    }

    @Override
    public boolean isProduct() {
      return core == null;
    }

    @Override
    public Product product() {
      Tensor down = a.value().reshape(a.value().dim(0), -1);
      Tensor up = b.value().reshape(b.value().dim(0), -1);
      return new Product(down.to(DType.F64), up.to(DType.F64), scale);
    }

    @Override
    protected Tensor delta() {
      Shape w = weightShape();
      if (w.dim(1) != a.value().dim(1)) {
        throw new IllegalStateException(
            path() + ": LoRA of a grouped convolution has no weight of its shape; it cannot merge");
      }
      Tensor up = b.value().reshape(w.dim(0), -1); // [out, r]
      Tensor down = a.value(); // [r, in, kh, kw]
      if (core != null) {
        down = Num.einsum("rskl,sc->rckl", core.value(), down.reshape(down.dim(0), -1));
      }
      return up.matmul(down.reshape(down.dim(0), -1)).mul(scale).reshape(w.dims());
    }

    @Override
    public Tensor mergedBias(Tensor bias, double strength) {
      return biasOfB == null ? bias : bias.add(biasOfB.value().mul(scale * strength));
    }
  }

  private static final class OfEmbedding extends AdditiveAdapter implements HasProduct {
    private final double scale;
    private final Parameter a;
    private final Parameter b;

    OfEmbedding(Lora kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      scale = kind.scale();
      a = parameter("lora_embedding_A", Shape.of(kind.rank, weightShape().dim(0)), Init.zeros());
      b = parameter("lora_embedding_B", Shape.of(weightShape().dim(1), kind.rank), Init.normal(1));
    }

    @Override
    protected Tensor change(Tensor indices) {
      Tensor h = NN.embedding(indices, a.value().transpose(0, 1)); // [..., r]
      return NN.linear(h, b.value(), null).mul(scale);
    }

    /** The transpose of the table's change. */
    @Override
    public Product product() {
      return new Product(a.value().to(DType.F64), b.value().to(DType.F64), scale);
    }

    @Override
    protected Tensor delta() {
      return b.value().matmul(a.value()).transpose(0, 1).mul(scale);
    }
  }
}
