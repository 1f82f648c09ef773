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
import io.sfumato.tensor.ops.Shaping;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * BOFT in PEFT's form: {@code W' = s ⊙ (W Bᵀ)} with B a product of m block-wise rotations between
 * butterfly permutations, on the input side (Liu et al. 2024, <a
 * href="https://arxiv.org/abs/2311.06243">arXiv:2311.06243</a>). {@code boft_R} is [m, blocks, b,
 * b] with Q = (R - Rᵀ) / 2 and rotations (I - Q)(I + Q)⁻¹; {@code boft_s} is [out, 1], for a
 * convolution [1, out], and starts as 1. The bias is left alone.
 *
 * @param blockSize the width b of a block; must divide the inputs (in · kh · kw)
 * @param factors the number m of factors; above 1, b must be even and 2ᵐ⁻¹ blocks must fit
 * @param dropout the share of the blocks of one factor, drawn anew each time, that do not turn in
 *     training
 */
public record Boft(int blockSize, int factors, double dropout) implements AdapterKind {
  /** Checks the values. */
  public Boft {
    if (blockSize < 2 || factors < 1 || (factors > 1 && blockSize % 2 != 0)) {
      throw new IllegalArgumentException(
          "the block size must be 2 at least, even if there are several factors; got "
              + blockSize
              + " and "
              + factors
              + " factors");
    }
    BlockDropout.check("boft_dropout", dropout);
  }

  /** Without dropout. */
  public Boft(int blockSize, int factors) {
    this(blockSize, factors, 0);
  }

  /** Reads PEFT's settings. */
  static Function<WeightLayer, AdapterKind> fromPeft(PeftConfig config) {
    int size = config.integer("boft_block_size", 4);
    int count = config.integer("boft_block_num", 0);
    int factors = config.integer("boft_n_butterfly_factor", 1);
    config.flag("init_weights", true); // of a fresh adapter
    double dropout = config.number("boft_dropout", 0);
    if (size <= 0 == count <= 0) {
      config.wrong("boft_block_size or boft_block_num", "positive, one of them", size, 0);
    }
    return layer ->
        new Boft(
            Math.max(2, size > 0 ? size : Rotations.inputs(layer) / Math.max(1, count)),
            Math.max(1, factors),
            dropout);
  }

  @Override
  public @Nullable PeftForm peft() {
    return new PeftForm(
        "BOFT",
        Map.of(
            "boft_block_size",
            blockSize,
            "boft_block_num",
            0,
            "boft_n_butterfly_factor",
            factors,
            "boft_dropout",
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
    if (!(layer instanceof Linear || (layer instanceof Conv2d c && c.options().groups() == 1))) {
      return "BOFT is defined for Linear and Conv2d of one group";
    }
    int in = Rotations.inputs(layer);
    if (in % blockSize != 0) {
      return in + " inputs are no multiple of the block " + blockSize;
    }
    int blocks = in / blockSize;
    return blocks % (1 << (factors - 1)) == 0
        ? null
        : blocks + " blocks cannot be exchanged by " + factors + " factors";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  private static final class Part extends WeightAdapter {
    private final Boft kind;
    private final int blocks;
    private final BlockDropout dropout;
    private final Parameter rotations;
    private final Parameter scale;

    Part(Boft kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      this.kind = kind;
      int b = kind.blockSize;
      int out = weightShape().dim(0);
      blocks = Rotations.inputs(layer) / b;
      dropout = new BlockDropout(kind.dropout);
      rotations = parameter("boft_R", Shape.of(kind.factors, blocks, b, b), Init.zeros());
      Shape ofScale = weightShape().rank() == 4 ? Shape.of(1, out) : Shape.of(out, 1);
      scale = parameter("boft_s", ofScale, Init.ones());
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      Tensor flat = weight.reshape(weight.dim(0), -1);
      Tensor turned = flat;
      int dropping = kind.dropout > 0 ? dropout.chosen(kind.factors, path()) : -1;
      for (int i = 0; i < kind.factors; i++) {
        turned = factor(turned, i, i == dropping);
      }
      Tensor result = turned.mul(scale.value().reshape(-1, 1).to(flat.dtype()));
      if (strength != 1) {
        result = flat.add(result.sub(flat).mul(strength));
      }
      return result.reshape(weight.shape().dims());
    }

    /** W (P D Pᵀ)ᵀ = W P Dᵀ Pᵀ for factor i. */
    private Tensor factor(Tensor w, int i, boolean drops) {
      Tensor raw = rotations.value().select(0, i); // [blocks, b, b]
      Tensor skew = raw.sub(raw.transpose(1, 2)).mul(0.5);
      Tensor r = Rotations.cayley(skew);
      Tensor turn = (drops ? dropout.apply(r, path()) : r).transpose(1, 2).to(w.dtype());
      if (i == 0) {
        return blockwise(w, turn);
      }
      long[] order = butterfly(w.dim(1), i);
      long[] back = new long[order.length];
      for (int k = 0; k < order.length; k++) {
        back[(int) order[k]] = k;
      }
      Tensor there = Tensor.of(order, order.length).to(w.device());
      Tensor again = Tensor.of(back, back.length).to(w.device());
      Tensor permuted = Shaping.indexSelect(w, 1, there);
      return Shaping.indexSelect(blockwise(permuted, turn), 1, again);
    }

    private Tensor blockwise(Tensor w, Tensor turn) {
      Tensor split = w.reshape(-1, blocks, kind.blockSize).transpose(0, 1); // [blocks, out, b]
      return split.matmul(turn).transpose(0, 1).reshape(w.shape().dims());
    }

    /**
     * The order of the inputs in factor i: within each group of 2ⁱ blocks, the even half-blocks
     * come first.
     */
    private long[] butterfly(int n, int i) {
      int half = kind.blockSize / 2;
      int group = kind.blockSize << i;
      long[] order = new long[n];
      for (int k = 0; k < n; k++) {
        int within = k % group;
        int pieces = group / half;
        int piece = within / half;
        int from = piece < pieces / 2 ? 2 * piece : 2 * (piece - pieces / 2) + 1;
        order[k] = k - within + (long) from * half + within % half;
      }
      return order;
    }
  }
}
