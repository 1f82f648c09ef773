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
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * OFT in PEFT's form: blocks of inputs are rotated before the layer, {@code y = W R(x) + b} (Qiu et
 * al. 2023, <a href="https://arxiv.org/abs/2306.07280">arXiv:2306.07280</a>; version 2, Qiu et al.
 * 2025, <a href="https://arxiv.org/abs/2506.19847">arXiv:2506.19847</a>). {@code oft_R.weight} is
 * [blocks, b (b - 1) / 2], the strict upper triangles, row by row, of skew matrices Q = U - Uᵀ. A
 * convolution's inputs are its patches, in · kh · kw, and its weight is turned as PEFT does when it
 * merges; PEFT's own forward sums turned patches where they overlap, which is something else.
 *
 * <p>{@code R = (I - Q)(I + Q)⁻¹} exactly, or by the Neumann series {@code I + 2Q + 2Q² + … +
 * Qⁿ⁻¹}, which tends to {@code (I + Q)(I - Q)⁻¹}: the two turn opposite ways, in PEFT as here, so
 * the choice belongs to the meaning of a file.
 *
 * <p>Constrained OFT bounds how far a block may turn: {@code ‖Q‖ ≤ eps / √blocks}, longer Q are
 * shortened, and gradients pass as if they were not. PEFT writes the shortened Q back into the
 * parameter whenever the layer is computed; here the parameter keeps its value, and each use
 * shortens it.
 *
 * <p>An embedding's outputs are turned: {@code y = E[i] R}, in {@code oft_embedding_R.weight}.
 *
 * <p>At strength μ, {@code I + μ (R - I)} takes R's place.
 *
 * @param blockSize the width b of a block; must divide the inputs
 * @param share whether all blocks turn the same way
 * @param neumannTerms terms of the series, or 0 for the exact transform
 * @param eps the bound of constrained OFT ({@code coft}), or 0 for none
 * @param dropout the share of blocks that do not turn in training ({@code module_dropout}; PEFT
 *     0.21 keeps the setting, but drops nothing)
 */
public record Oft(int blockSize, boolean share, int neumannTerms, double eps, double dropout)
    implements AdapterKind {
  /** Checks the values. */
  public Oft {
    if (blockSize < 2 || neumannTerms < 0) {
      throw new IllegalArgumentException(
          "the block size must be 2 at least and the terms not negative; got "
              + blockSize
              + " and "
              + neumannTerms);
    }
    if (!(eps >= 0 && Double.isFinite(eps))) {
      throw new IllegalArgumentException("eps must be finite and not negative; got " + eps);
    }
    BlockDropout.check("module_dropout", dropout);
  }

  /** Unconstrained, without dropout. */
  public Oft(int blockSize, boolean share, int neumannTerms) {
    this(blockSize, share, neumannTerms, 0, 0);
  }

  /** Blocks of width {@code b}, five terms of the series: PEFT's defaults. */
  public static Oft blocks(int b) {
    return new Oft(b, false, 5);
  }

  /** Reads PEFT's settings. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    int size = config.integer("oft_block_size", 32);
    int blocks = config.integer("r", 0);
    boolean share = config.flag("block_share", false);
    boolean neumann = config.flag("use_cayley_neumann", true);
    int terms = config.integer("num_cayley_neumann_terms", 5);
    double eps = config.number("eps", 6e-5);
    double bound = config.flag("coft", false) ? eps : 0;
    double dropout = config.number("module_dropout", 0);
    config.flag("init_weights", true); // of a fresh adapter
    if (size <= 0 == blocks <= 0) {
      config.wrong("oft_block_size or r", "positive, one of them", size + " and " + blocks, 0);
    }
    return layer ->
        new Oft(
            Math.max(2, size > 0 ? size : turned(layer) / Math.max(1, blocks)),
            share,
            neumann ? terms : 0,
            bound,
            dropout);
  }

  @Override
  public @Nullable PeftForm peft() {
    return new PeftForm(
        "OFT",
        Map.of(
            "oft_block_size",
            blockSize,
            "r",
            0,
            "block_share",
            share,
            "use_cayley_neumann",
            neumannTerms > 0,
            "num_cayley_neumann_terms",
            neumannTerms > 0 ? neumannTerms : 5,
            "coft",
            eps > 0,
            "eps",
            eps > 0 ? eps : 6e-5,
            "module_dropout",
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
    if (!(layer instanceof Linear
        || layer instanceof Embedding
        || (layer instanceof Conv2d c && c.options().groups() == 1))) {
      return "OFT is defined for Linear, Embedding and Conv2d of one group";
    }
    if (layer instanceof Embedding && dropout > 0) {
      return "OFT of an embedding has no dropout";
    }
    int n = turned(layer);
    return n % blockSize == 0 ? null : n + " channels are no multiple of the block " + blockSize;
  }

  /** What is turned: inputs, or an embedding's outputs. */
  private static int turned(WeightLayer layer) {
    return layer instanceof Embedding ? layer.weight().value().dim(1) : Rotations.inputs(layer);
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends WeightAdapter {
    private final Oft kind;
    private final int blocks;
    private final boolean embedding;
    private final BlockDropout dropout;
    private final Parameter triangles;

    Part(Oft kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.kind = kind;
      int b = kind.blockSize;
      blocks = turned(layer) / b;
      embedding = layer instanceof Embedding;
      dropout = new BlockDropout(kind.dropout);
      triangles =
          parameter(
              embedding ? "oft_embedding_R.weight" : "oft_R.weight",
              Shape.of(kind.share ? 1 : blocks, b * (b - 1) / 2),
              Init.zeros());
    }

    /** The rotations R, [blocks or 1, b, b]. */
    private Tensor rotations(double strength) {
      Tensor q = Rotations.skew(bounded(), kind.blockSize);
      Tensor r =
          kind.neumannTerms == 0 ? Rotations.cayley(q) : Rotations.neumann(q, kind.neumannTerms);
      r = dropout.apply(r, path());
      Tensor eye = Shaping.eye(kind.blockSize).to(r.dtype()).to(r.device());
      return strength == 1 ? r : r.sub(eye).mul(strength).add(eye);
    }

    /** The triangles of Q, shortened to the bound; the gradient is that of a plain copy. */
    private Tensor bounded() {
      Tensor u = triangles.value(); // [blocks, b (b - 1) / 2]
      if (kind.eps == 0) {
        return u;
      }
      Tensor difference =
          Autograd.noGrad(
              () -> {
                double bound = kind.eps / Math.sqrt(u.dim(0));
                Tensor norm = Num.sqrt(Num.sum(Num.square(u), true, 1).mul(2)); // of U - Uᵀ
                Tensor kept = Num.clamp(norm, 0, bound).div(Num.clamp(norm, 1e-30, 1e30));
                return u.mul(kept).sub(u);
              });
      return u.add(difference);
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      if (layer() instanceof Linear) {
        return base.apply(rotate(x, rotations(strength)));
      }
      if (embedding) {
        return rotate(base.apply(x), rotations(strength));
      }
      // Patches overlap, so a convolution turns the weight instead of what it sees.
      return super.apply(x, base, strength);
    }

    /** Each block of the last axis times its R. */
    private Tensor rotate(Tensor x, Tensor r) {
      Tensor split = x.reshape(-1, blocks, kind.blockSize).transpose(0, 1); // [blocks, T, b]
      return split.matmul(r).transpose(0, 1).reshape(x.shape().dims());
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      Tensor flat = weight.reshape(weight.dim(0), -1); // W Rᵀ, an embedding's E R, block by block
      Tensor r = rotations(strength);
      Tensor turned = rotate(flat, (embedding ? r : r.transpose(-1, -2)).to(flat.dtype()));
      return turned.reshape(weight.shape().dims());
    }
  }
}
