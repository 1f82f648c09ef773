// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.TorchGenerator;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * VeRA: one pair of random factors for all layers, and two trained vectors in each, {@code ΔW =
 * diag(b) B diag(d) A} (Kopiczko et al. 2024, <a
 * href="https://arxiv.org/abs/2310.11454">arXiv:2310.11454</a>). The shared {@code vera_A} [r, most
 * inputs] and {@code vera_B} [most outputs, r] are cut to each layer; {@code vera_lambda_d} [r]
 * starts as {@code initialD}, {@code vera_lambda_b} [out] as 0. The factors are drawn as PEFT draws
 * them, from PyTorch's generator, so a file that leaves them out can be read.
 *
 * @param rank the rank r
 * @param initialD the first value of d
 * @param key the seed of the factors
 * @param dropout probability with which elements of the input are dropped in training
 */
public record Vera(int rank, double initialD, long key, double dropout) implements AdapterKind {
  /** Checks the values. */
  public Vera {
    if (rank < 1) {
      throw new IllegalArgumentException("the rank must be positive; got " + rank);
    }
    if (!(dropout >= 0 && dropout < 1)) {
      throw new IllegalArgumentException("the dropout must be in [0, 1); got " + dropout);
    }
  }

  /** Rank {@code r}, d = 0.1, seed 0: PEFT's defaults. */
  public static Vera rank(int r) {
    return new Vera(r, 0.1, 0, 0);
  }

  /** The same with dropout of the input. */
  public Vera dropout(double p) {
    return new Vera(rank, initialD, key, p);
  }

  /** Reads PEFT's settings. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    Vera vera =
        new Vera(
            config.positive("r", 256),
            config.number("d_initial", 0.1),
            config.integer("projection_prng_key", 0),
            config.number("vera_dropout", 0));
    config.flag("save_projection", true); // the file shows it
    config.flag("init_weights", true); // of a fresh adapter
    return layer -> vera;
  }

  @Override
  public @Nullable PeftForm peft() {
    return new PeftForm(
        "VERA",
        Map.of(
            "r",
            rank,
            "d_initial",
            initialD,
            "projection_prng_key",
            key,
            "save_projection",
            true,
            "vera_dropout",
            dropout,
            "init_weights",
            true),
        "",
        0,
        "",
        0);
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Linear ? null : "VeRA is defined for Linear";
  }

  @Override
  public Module shared(List<WeightLayer> layers, Weights root) {
    int in = 0;
    int out = 0;
    for (WeightLayer layer : layers) {
      in = Math.max(in, layer.weight().value().dim(1));
      out = Math.max(out, layer.weight().value().dim(0));
    }
    TensorSpec like = layers.getFirst().weight().value().spec();
    Weights source =
        root.has("vera_A") || root.has("vera_B")
            ? root
            : Weights.init(Rng.seed(0), like.dtype(), like.device()); // as PEFT draws them
    return new Projection(this, in, out, source);
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    if (!(shared instanceof Projection projection)) {
      throw new IllegalStateException("the shared factors are missing");
    }
    return new Part(this, projection, layer, weights);
  }

  /** The factors of all layers; never trained. */
  private static final class Projection extends Module {
    private final Parameter a;
    private final Parameter b;

    Projection(Vera kind, int in, int out, Weights weights) {
      super(weights);
      TorchGenerator generator = new TorchGenerator(kind.key); // A is drawn first
      a = buffer("vera_A", Shape.of(kind.rank, in), (spec, rng) -> draw(generator, spec));
      b = buffer("vera_B", Shape.of(out, kind.rank), (spec, rng) -> draw(generator, spec));
    }

    /** Uniform on ±√(6 / fan in), as kaiming_uniform with a = 0. */
    private static Tensor draw(TorchGenerator generator, TensorSpec spec) {
      float bound = (float) (Math.sqrt(3) * (Math.sqrt(2) / Math.sqrt(spec.shape().dim(1))));
      Tensor drawn = Tensor.zeros(new TensorSpec(spec.shape(), DType.F32, Device.CPU));
      generator.fillUniform(drawn.address(), drawn.numel(), -bound, bound);
      return drawn.to(spec.dtype()).to(spec.device());
    }
  }

  private static final class Part extends AdditiveAdapter {
    private final Projection projection;
    private final Dropout dropout;
    private final boolean drops;
    private final Parameter d;
    private final Parameter b;

    Part(Vera kind, Projection projection, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.projection = projection;
      dropout = child("vera_dropout", w -> new Dropout(w, kind.dropout));
      drops = kind.dropout > 0;
      d = parameter("vera_lambda_d", Shape.of(kind.rank), Init.constant(kind.initialD));
      b = parameter("vera_lambda_b", Shape.of(weightShape().dim(0)), Init.zeros());
    }

    /** diag(d) A [r, in]. */
    private Tensor down() {
      Tensor cut = projection.a.value().slice(1, 0, weightShape().dim(1));
      return cut.mul(d.value().reshape(-1, 1));
    }

    /** diag(b) B [out, r]. */
    private Tensor up() {
      Tensor cut = projection.b.value().slice(0, 0, weightShape().dim(0));
      return cut.mul(b.value().reshape(-1, 1));
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      return layer().isBase(base) && !(drops && Dropout.isActive())
          ? NN.lowRank(x, weight(), bias(), down(), up(), strength)
          : super.apply(x, base, strength);
    }

    @Override
    protected Tensor change(Tensor x) {
      return NN.linear(NN.linear(drops ? dropout.call(x) : x, down(), null), up(), null);
    }

    @Override
    protected Tensor delta() {
      return up().matmul(down());
    }
  }
}
