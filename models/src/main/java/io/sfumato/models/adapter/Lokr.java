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
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * LoKr: a Kronecker product, {@code ΔW = s (W₁ ⊗ W₂)} with W₁ [out₁, in₁], W₂ [out₂, in₂, kh, kw],
 * out = out₁ out₂ and in = in₁ in₂ (LyCORIS, Yeh et al. 2024, <a
 * href="https://arxiv.org/abs/2309.14859">arXiv:2309.14859</a>). W₂, and W₁ with {@code
 * decomposeBoth}, are products of rank r where that is smaller. s = α/r. W₂ acts on the inner part
 * of the channels, then W₁ on the outer one; ΔW is formed to merge, and for linear layers of a few
 * hundred channels on a CPU, where {@code W + ΔW} at once is faster.
 *
 * @param rank the rank r of what is decomposed
 * @param alpha the numerator α of the scale
 * @param factor what channels are divided by: about the square root if -1
 * @param decomposeBoth whether W₁ is decomposed, too
 * @param effectiveConv whether the decomposed W₂ of a kernel larger than 1 x 1 has a core {@code
 *     lokr_t2} [r, r, kh, kw]
 * @param rankDropout probability with which an output row of ΔW is dropped in training
 * @param rescaleDropout whether the kept rows are divided by the share that was kept
 * @param moduleDropout probability with which a layer goes without its adapter in training
 */
public record Lokr(
    int rank,
    double alpha,
    int factor,
    boolean decomposeBoth,
    boolean effectiveConv,
    double rankDropout,
    boolean rescaleDropout,
    double moduleDropout)
    implements AdapterKind {
  /** Checks the values. */
  public Lokr {
    if (rank < 1 || !Double.isFinite(alpha)) {
      throw new IllegalArgumentException(
          "the rank must be positive and alpha finite; got " + rank + " and " + alpha);
    }
    if (factor != -1 && factor < 1) {
      throw new IllegalArgumentException("the factor must be positive or -1; got " + factor);
    }
    new DeltaDropout(rankDropout, rescaleDropout, moduleDropout); // checks
  }

  /** Rank {@code r}, α = r, channels divided by about their square root. */
  public static Lokr rank(int r) {
    return new Lokr(r, r, -1, false, false, 0, false, 0);
  }

  /** The same with another α. */
  public Lokr alpha(double value) {
    return new Lokr(
        rank,
        value,
        factor,
        decomposeBoth,
        effectiveConv,
        rankDropout,
        rescaleDropout,
        moduleDropout);
  }

  /** The same with another rank; α stays. */
  public Lokr withRank(int r) {
    return new Lokr(
        r, alpha, factor, decomposeBoth, effectiveConv, rankDropout, rescaleDropout, moduleDropout);
  }

  /** The same with channels divided by {@code value}. */
  public Lokr factor(int value) {
    return new Lokr(
        rank,
        alpha,
        value,
        decomposeBoth,
        effectiveConv,
        rankDropout,
        rescaleDropout,
        moduleDropout);
  }

  /**
   * Divides a number of channels as PEFT does: by {@code factor} if it divides, else into the two
   * divisors closest to each other of which the first is {@code factor} at most.
   *
   * @param dim the number
   * @param factor what to divide by, or -1 for no limit
   * @return two numbers whose product is {@code dim}
   */
  public static int[] factorize(int dim, int factor) {
    if (factor > 0 && dim % factor == 0) {
      return new int[] {factor, dim / factor};
    }
    int most = factor == -1 ? dim : factor;
    int m = 1;
    int n = dim;
    int length = m + n;
    while (m < n) {
      int candidate = m + 1;
      while (dim % candidate != 0) {
        candidate++;
      }
      int other = dim / candidate;
      if (candidate + other > length || candidate > most) {
        break;
      }
      m = candidate;
      n = other;
      length = m + n;
    }
    return m > n ? new int[] {n, m} : new int[] {m, n};
  }

  /** Reads PEFT's settings. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    PeftConfig.Ranks ranks = config.ranks("alpha");
    config.flag("init_weights", true); // of a fresh adapter
    Lokr lokr =
        new Lokr(
            Math.max(1, ranks.r()),
            ranks.alpha(),
            config.integer("decompose_factor", -1),
            config.flag("decompose_both", false),
            config.flag("use_effective_conv2d", false),
            config.number("rank_dropout", 0),
            config.flag("rank_dropout_scale", false),
            config.number("module_dropout", 0));
    return layer -> lokr.withRank(ranks.rankOf(layer)).alpha(ranks.alphaOf(layer));
  }

  @Override
  public @Nullable PeftForm peft() {
    return new PeftForm(
        "LOKR",
        Map.of(
            "decompose_both", decomposeBoth,
            "decompose_factor", factor,
            "use_effective_conv2d", effectiveConv,
            "rank_dropout", rankDropout,
            "rank_dropout_scale", rescaleDropout,
            "module_dropout", moduleDropout,
            "init_weights", true),
        "r",
        rank,
        "alpha",
        alpha);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Linear || (layer instanceof Conv2d c && c.options().groups() == 1)
        ? null
        : "LoKr is defined for Linear and Conv2d of one group";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(layer, weights, plan(layer), alpha / rank, dropout());
  }

  private DeltaDropout dropout() {
    return new DeltaDropout(rankDropout, rescaleDropout, moduleDropout);
  }

  private Plan plan(WeightLayer layer) {
    Shape w = layer.weight().value().shape();
    int[] outs = factorize(w.dim(0), factor);
    int[] ins = factorize(w.dim(1), factor);
    int pixels = w.rank() == 4 ? w.dim(2) * w.dim(3) : 1;
    boolean full1 = !(decomposeBoth && rank < Math.max(outs[0], ins[0]) / 2.0);
    boolean full2 = rank >= Math.max(outs[1], ins[1]) / 2.0;
    return new Plan(outs, ins, rank, full1, full2, effectiveConv && pixels > 1 && !full2);
  }

  /** How the channels are divided, and which factors are decomposed. */
  record Plan(int[] outs, int[] ins, int rank, boolean full1, boolean full2, boolean core) {}

  /**
   * An adapter that a file describes by its factors' shapes.
   *
   * @param plan how the channels are divided
   * @param scale the factor s
   */
  record Stored(Plan plan, double scale) implements AdapterKind {
    @Override
    public @Nullable String refuses(WeightLayer layer) {
      return Lokr.rank(1).refuses(layer);
    }

    @Override
    public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
      return new Part(layer, weights, plan, scale, DeltaDropout.NONE);
    }
  }

  /** The adapter in one layer. */
  static final class Part extends AdditiveAdapter {
    private final double scale;
    private final Plan plan;
    private final DeltaDropout dropout;
    private final Shape inner; // W₂'s
    private final @Nullable Parameter w1;
    private final @Nullable Parameter w1a;
    private final @Nullable Parameter w1b;
    private final @Nullable Parameter w2;
    private final @Nullable Parameter w2a;
    private final @Nullable Parameter w2b;
    private final @Nullable Parameter t2;

    Part(WeightLayer layer, Weights weights, Plan plan, double scale, DeltaDropout dropout) {
      super(layer, weights);
      this.scale = scale;
      this.plan = plan;
      this.dropout = dropout;
      Shape w = weightShape();
      int r = plan.rank;
      int out2 = plan.outs[1];
      int in2 = plan.ins[1];
      boolean conv = w.rank() == 4;
      int pixels = conv ? w.dim(2) * w.dim(3) : 1;
      inner = conv ? Shape.of(out2, in2, w.dim(2), w.dim(3)) : Shape.of(out2, in2);
      // PEFT starts W₁ at zero and draws the rest.
      if (plan.full1) {
        w1 = parameter("lokr_w1", Shape.of(plan.outs[0], plan.ins[0]), Init.zeros());
        w1a = null;
        w1b = null;
      } else {
        w1 = null;
        w1a = parameter("lokr_w1_a", Shape.of(plan.outs[0], r), Init.zeros());
        w1b = parameter("lokr_w1_b", Shape.of(r, plan.ins[0]), Init.fanIn(plan.ins[0]));
      }
      if (plan.full2) {
        w2 = parameter("lokr_w2", inner, Init.fanIn((long) in2 * pixels));
        w2a = null;
        w2b = null;
        t2 = null;
      } else {
        w2 = null;
        Shape left = plan.core ? Shape.of(r, out2) : Shape.of(out2, r);
        Shape right = plan.core ? Shape.of(r, in2) : Shape.of(r, in2 * pixels);
        w2a = parameter("lokr_w2_a", left, Init.fanIn(left.dim(1)));
        w2b = parameter("lokr_w2_b", right, Init.fanIn(right.dim(1)));
        t2 =
            plan.core
                ? parameter(
                    "lokr_t2", Shape.of(r, r, w.dim(2), w.dim(3)), Init.fanIn((long) r * pixels))
                : null;
      }
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      if (dropout.skips(path())) {
        return base.apply(x);
      }
      if (x.device().equals(Device.CPU)
          && isSmall()
          && dropout.rows() == 0
          && mayJoinWeight(base)) {
        return layer().compute(x, merged(weight(), strength), bias());
      }
      return super.apply(x, base, strength);
    }

    /**
     * Whether the layer is linear and so small that the gradient of its whole weight takes less
     * time than to pass the input through both factors: about 250 multiplications for each value
     * that they read or write, on a CPU.
     */
    private boolean isSmall() {
      long in = (long) plan.ins[0] * plan.ins[1];
      long out = (long) plan.outs[0] * plan.outs[1];
      long values = in + (long) plan.ins[0] * plan.outs[1] + out;
      return layer() instanceof Linear && in * out < 250 * values;
    }

    /** Whether neither factor is decomposed. */
    boolean isFull() {
      return plan.full1 && plan.full2;
    }

    /** The factor s. */
    double scale() {
      return scale;
    }

    /** W₁ [out₁, in₁]. */
    private Tensor outer() {
      return w1 != null ? w1.value() : value(w1a).matmul(value(w1b));
    }

    /** W₂ [out₂, in₂] or [out₂, in₂, kh, kw]. */
    private Tensor inner() {
      if (w2 != null) {
        return w2.value();
      }
      Tensor product =
          t2 != null
              ? Num.einsum("ijkl,jc,io->ockl", t2.value(), value(w2b), value(w2a))
              : value(w2a).matmul(value(w2b));
      return product.reshape(inner.dims());
    }

    private static Tensor value(@Nullable Parameter p) {
      if (p == null) {
        throw new IllegalStateException("a factor is missing");
      }
      return p.value();
    }

    @Override
    protected Tensor change(Tensor x) {
      if (layer() instanceof Conv2d conv) {
        Tensor y = ofConvolution(x, conv);
        return dropout.apply(y, 1, path());
      }
      int[] shape = x.shape().dims();
      int last = shape.length - 1;
      Tensor split = x.reshape(-1, plan.ins[0], plan.ins[1]); // [T, in₁, in₂]
      Tensor z = // [T, in₁, out₂]
          w2 != null
              ? NN.linear(split, w2.value(), null)
              : NN.linear(NN.linear(split, value(w2b), null), value(w2a), null);
      Tensor y = outer().mul(scale).matmul(z); // [T, out₁, out₂]
      shape[last] = plan.outs[0] * plan.outs[1];
      return dropout.apply(y.reshape(shape), -1, path());
    }

    private Tensor ofConvolution(Tensor x, Conv2d conv) {
      int batch = x.dim(0);
      Tensor split = x.reshape(batch * plan.ins[0], plan.ins[1], x.dim(2), x.dim(3));
      Tensor z = NN.conv2d(split, inner(), null, conv.options()); // [B in₁, out₂, H', W']
      int height = z.dim(2);
      int width = z.dim(3);
      Tensor y = outer().mul(scale).matmul(z.reshape(batch, plan.ins[0], -1)); // [B, out₁, …]
      return y.reshape(batch, plan.outs[0] * plan.outs[1], height, width);
    }

    @Override
    protected Tensor delta() {
      Shape w = weightShape();
      Tensor one = outer().mul(scale).reshape(plan.outs[0], 1, plan.ins[0], 1, 1);
      Tensor two = inner().reshape(1, plan.outs[1], 1, plan.ins[1], -1);
      return one.mul(two).reshape(w.dims());
    }
  }
}
