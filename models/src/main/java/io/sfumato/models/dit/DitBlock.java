// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import io.sfumato.models.nn.Attention;
import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.FeedForward;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A block of a {@link Dit}: attention and an MLP, conditioned in one of four ways. */
abstract sealed class DitBlock extends Module {
  /** Epsilon of all normalisations but the one before the MLP. */
  static final double EPS = 1e-6;

  /** Attention of the layout, in its names. */
  private final Module attention;

  /** The MLP of the layout, in its names. */
  private final Layer mlp;

  private DitBlock(Weights weights, DitConfig config) {
    super(weights);
    int width = config.width();
    if (config.layout() == DitLayout.ORIGINAL) {
      attention = child("attn", w -> new FusedAttention(w, config));
      mlp = child("mlp", w -> new Mlp(w, width, config.dropout()));
    } else {
      Attention.Options options =
          Attention.of(width, config.numAttentionHeads(), config.attentionHeadDim())
              .bias(config.attentionBias())
              .dropout(config.dropout());
      attention = child("attn1", w -> new Attention(w, options));
      FeedForward.Kind kind = FeedForward.Kind.parse(config.activationFn());
      mlp = child("ff", w -> new FeedForward(w, width, 4 * width, kind, config.dropout()));
    }
  }

  /** The block of a configuration. */
  static DitBlock of(Weights weights, DitConfig config) {
    return switch (config.conditioning()) {
      case IN_CONTEXT -> new Plain(weights, config);
      case CROSS_ATTENTION -> new Cross(weights, config);
      case ADALN -> new AdaLn(weights, config);
      case ADALN_ZERO -> new AdaLnZero(weights, config);
    };
  }

  /**
   * What blocks get beside the tokens.
   *
   * @param vectors the block's own modulation [B, kD] for adaLN; the embeddings of timestep and
   *     class [B, 2, D] for cross-attention; null in context, where they are among the tokens
   * @param rotary rotary positions, or null
   */
  record Condition(@Nullable Tensor vectors, @Nullable Rotary rotary) {
    private Tensor required() {
      if (vectors == null) {
        throw new IllegalStateException("the block needs a condition");
      }
      return vectors;
    }
  }

  /** The computation, tokens [B, N, D] to [B, N, D]. */
  abstract Tensor forward(Tensor x, Condition c);

  /** Runs the block. */
  final Tensor call(Tensor x, Condition c) {
    return call(() -> forward(x, c));
  }

  /** The layer that makes the block's modulation, if it has one. */
  Optional<Linear> modulation() {
    return Optional.empty();
  }

  /** The block's own embedders, in diffusers' layout. */
  Optional<Embedders> embedders() {
    return Optional.empty();
  }

  final Tensor attention(Tensor x, Condition c) {
    return attention instanceof FusedAttention fused
        ? fused.call(x, c.rotary)
        : ((Attention) attention).call(x);
  }

  final Tensor mlp(Tensor x) {
    return mlp.call(x);
  }

  /** A standard transformer block; the condition is among the tokens. */
  private static final class Plain extends DitBlock {
    private final LayerNorm norm1;
    private final LayerNorm norm2;

    Plain(Weights weights, DitConfig config) {
      super(weights, config);
      norm1 = child("norm1", w -> new LayerNorm(w, config.width(), EPS, true));
      norm2 = child("norm2", w -> new LayerNorm(w, config.width(), config.normEps(), true));
    }

    @Override
    Tensor forward(Tensor x, Condition c) {
      Tensor h = x.add(attention(norm1.call(x), c)); // [B, N + 2, D]
      return h.add(mlp(norm2.call(h)));
    }
  }

  /** A transformer block that attends to the condition after its self-attention. */
  private static final class Cross extends DitBlock {
    private final LayerNorm norm1;
    private final LayerNorm normCross;
    private final Attention cross;
    private final LayerNorm norm2;

    Cross(Weights weights, DitConfig config) {
      super(weights, config);
      int width = config.width();
      Attention.Options options =
          Attention.of(width, config.numAttentionHeads(), config.attentionHeadDim())
              .context(width)
              .bias(config.attentionBias())
              .dropout(config.dropout());
      norm1 = child("norm1", w -> new LayerNorm(w, width, EPS, true));
      normCross = child("norm_cross", w -> new LayerNorm(w, width, EPS, true));
      cross = child("cross_attn", w -> new Attention(w, options));
      norm2 = child("norm2", w -> new LayerNorm(w, width, config.normEps(), true));
    }

    @Override
    Tensor forward(Tensor x, Condition c) {
      Tensor h = x.add(attention(norm1.call(x), c)); // [B, N, D]
      h = h.add(cross.call(normCross.call(h), Context.of(c.required())));
      return h.add(mlp(norm2.call(h)));
    }
  }

  /** Adaptive layer normalisation: shift and scale of both norms come from the condition. */
  private static final class AdaLn extends DitBlock {
    private final Linear modulation;
    private final double eps;

    AdaLn(Weights weights, DitConfig config) {
      super(weights, config);
      int width = config.width();
      eps = config.normEps();
      modulation = child("adaLN_modulation.1", w -> new Linear(w, width, 4 * width));
    }

    @Override
    Optional<Linear> modulation() {
      return Optional.of(modulation);
    }

    @Override
    Tensor forward(Tensor x, Condition c) {
      List<Tensor> m = Shaping.chunk(c.required(), 4, 1); // shift, scale, shift, scale: [B, D]
      Tensor h = NN.layerNormModulate(x, m.get(0), m.get(1), EPS); // [B, N, D]
      h = x.add(attention(h, c));
      return h.add(mlp(NN.layerNormModulate(h, m.get(2), m.get(3), eps)));
    }
  }

  /** The same with gated branches. */
  private static final class AdaLnZero extends DitBlock {
    private final @Nullable Embedders embedders;
    private final Linear modulation;
    private final @Nullable LayerNorm norm3;
    private final double eps;

    AdaLnZero(Weights weights, DitConfig config) {
      super(weights, config);
      int width = config.width();
      boolean original = config.layout() == DitLayout.ORIGINAL;
      eps = config.normEps();
      embedders = original ? null : embedders(config);
      modulation =
          child(
              original ? "adaLN_modulation.1" : "norm1.linear",
              w -> new Linear(w, width, 6 * width));
      norm3 =
          config.normElementwiseAffine()
              ? child("norm3", w -> new LayerNorm(w, width, eps, true))
              : null;
    }

    private Embedders embedders(DitConfig config) {
      int width = config.width();
      int rows = 1 + Objects.requireNonNull(config.numEmbedsAdaNorm());
      String emb = "norm1.emb.";
      return new Embedders(
          child(emb + "timestep_embedder.linear_1", w -> new Linear(w, Embedders.FEATURES, width)),
          child(emb + "timestep_embedder.linear_2", w -> new Linear(w, width, width)),
          child(emb + "class_embedder.embedding_table", w -> new Embedding(w, rows, width)));
    }

    @Override
    Optional<Linear> modulation() {
      return Optional.of(modulation);
    }

    @Override
    Optional<Embedders> embedders() {
      return Optional.ofNullable(embedders);
    }

    @Override
    Tensor forward(Tensor x, Condition c) {
      // shift, scale, gate of attention, then of the MLP: [B, D] each
      List<Tensor> m = Shaping.chunk(c.required(), 6, 1);
      Tensor h = NN.layerNormModulate(x, m.get(0), m.get(1), EPS); // [B, N, D]
      h = attention(h, c);
      if (norm3 != null) {
        h = NN.gatedResidual(x, h, m.get(2));
        Tensor n = norm3.call(h).mul(m.get(4).add(1).unsqueeze(1)).add(m.get(3).unsqueeze(1));
        return NN.gatedResidual(h, mlp(n), m.get(5));
      }
      GatedResidualNorm.Result y = NN.gatedResidualNorm(x, h, m.get(2), m.get(3), m.get(4), eps);
      return NN.gatedResidual(y.sum(), mlp(y.normalised()), m.get(5));
    }
  }

  /** The MLP of timm: two layers and the GELU by tanh between them. */
  private static final class Mlp extends Layer {
    private final Linear fc1;
    private final Dropout dropout;
    private final Linear fc2;

    Mlp(Weights weights, int width, double p) {
      super(weights);
      fc1 = child("fc1", w -> new Linear(w, width, 4 * width));
      dropout = child("drop1", w -> new Dropout(w, p));
      fc2 = child("fc2", w -> new Linear(w, 4 * width, width));
    }

    @Override
    protected Tensor forward(Tensor x) {
      return fc2.call(dropout.call(NN.geluTanh(fc1.call(x))));
    }
  }
}
