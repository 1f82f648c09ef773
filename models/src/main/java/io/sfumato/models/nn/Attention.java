// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Multi-head attention of tokens (diffusers models/attention_processor.py, Attention): {@code
 * to_out.0(softmax(q kᵀ / sqrt(D)) v)} with q = to_q x and k, v = to_k c, to_v c, where c is x
 * itself or a {@link Context}. Scores are kept in f32 whatever the type, so diffusers'
 * upcast_attention asks for nothing more. The spatial attention of autoencoders, with its own
 * normalisation and residual, is {@link io.sfumato.models.unet.AttentionBlock}.
 *
 * {@snippet :
 * var attn1 = child("attn1", w -> new Attention(w, Attention.of(320, 8, 40)));
 * var attn2 = child("attn2", w -> new Attention(w, Attention.of(320, 8, 40).context(768)));
 * x = x.add(attn1.call(norm1.call(x)));          // [B, L, 320]
 * x = x.add(attn2.call(norm2.call(x), context)); // [B, L, 320]
 * }
 */
public final class Attention extends Module implements PrefixSlot.Holder {
  /** How queries and keys are normalised before their product. */
  public enum QkNorm {
    /** Not at all. */
    NONE,
    /** Layer normalisation of each head, {@code layer_norm}. */
    LAYER,
    /** Root-mean-square normalisation of each head, {@code rms_norm}. */
    RMS,
    /** Layer normalisation of all heads together, {@code layer_norm_across_heads}. */
    LAYER_ACROSS_HEADS,
    /** Root-mean-square normalisation of all heads together, {@code rms_norm_across_heads}. */
    RMS_ACROSS_HEADS;

    private boolean acrossHeads() {
      return this == LAYER_ACROSS_HEADS || this == RMS_ACROSS_HEADS;
    }
  }

  /**
   * The shape of an attention. Immutable; {@code Attention.of(320, 8, 40).context(768)}.
   *
   * @param width of the tokens and of the result
   * @param contextWidth of the context's states; null for self-attention
   * @param heads H, the number of heads
   * @param headWidth D, the width of one head; H D may differ from {@code width}
   * @param bias whether to_q, to_k and to_v have biases
   * @param outBias whether to_out.0 has one
   * @param qkNorm how queries and keys are normalised
   * @param eps epsilon of that normalisation
   * @param dropout probability of dropout of the result while training
   */
  public record Options(
      int width,
      @Nullable Integer contextWidth,
      int heads,
      int headWidth,
      boolean bias,
      boolean outBias,
      QkNorm qkNorm,
      double eps,
      double dropout) {
    /** Cross-attention to states of this width; null for self-attention. */
    public Options context(@Nullable Integer states) {
      return new Options(width, states, heads, headWidth, bias, outBias, qkNorm, eps, dropout);
    }

    /** With or without biases of to_q, to_k and to_v. */
    public Options bias(boolean value) {
      return new Options(
          width, contextWidth, heads, headWidth, value, outBias, qkNorm, eps, dropout);
    }

    /** With or without a bias of to_out.0. */
    public Options outBias(boolean value) {
      return new Options(width, contextWidth, heads, headWidth, bias, value, qkNorm, eps, dropout);
    }

    /** With normalised queries and keys. */
    public Options qkNorm(QkNorm kind, double epsilon) {
      return new Options(
          width, contextWidth, heads, headWidth, bias, outBias, kind, epsilon, dropout);
    }

    /** With this probability of dropout. */
    public Options dropout(double p) {
      return new Options(width, contextWidth, heads, headWidth, bias, outBias, qkNorm, eps, p);
    }
  }

  private final PrefixSlot prefix = new PrefixSlot();
  private final Options options;
  private final Linear toQ;
  private final Linear toK;
  private final Linear toV;
  private final @Nullable Layer normQ;
  private final @Nullable Layer normK;
  private final Linear toOut;
  private final Dropout dropout;

  /** Options of self-attention as in diffusers: biases in to_out.0 alone. */
  public static Options of(int width, int heads, int headWidth) {
    return new Options(width, null, heads, headWidth, false, true, QkNorm.NONE, 1e-5, 0);
  }

  /** A layer whose parameters come from {@code weights}. */
  public Attention(Weights weights, Options options) {
    super(weights);
    this.options = options;
    if (options.width < 1 || options.heads < 1 || options.headWidth < 1) {
      throw new IllegalArgumentException(
          path() + ": width, heads and width of a head must be positive; got " + options);
    }
    int inner = options.heads * options.headWidth;
    int states = options.contextWidth == null ? options.width : options.contextWidth;
    normQ = norm("norm_q", inner);
    normK = norm("norm_k", inner);
    toQ = child("to_q", w -> new Linear(w, options.width, inner, options.bias));
    toK = child("to_k", w -> new Linear(w, states, inner, options.bias));
    toV = child("to_v", w -> new Linear(w, states, inner, options.bias));
    toOut = child("to_out.0", w -> new Linear(w, inner, options.width, options.outBias));
    dropout = child("to_out.1", w -> new Dropout(w, options.dropout));
  }

  private @Nullable Layer norm(String name, int inner) {
    int width = options.qkNorm.acrossHeads() ? inner : options.headWidth;
    return switch (options.qkNorm) {
      case NONE -> null;
      case LAYER, LAYER_ACROSS_HEADS ->
          child(name, w -> new LayerNorm(w, width, options.eps, true));
      case RMS, RMS_ACROSS_HEADS -> child(name, w -> new RmsNorm(w, width, options.eps));
    };
  }

  @Override
  public PrefixSlot prefixSlot() {
    return prefix;
  }

  @Override
  public int heads() {
    return options.heads;
  }

  @Override
  public int headWidth() {
    return options.headWidth;
  }

  /** What the layer was made of. */
  public Options options() {
    return options;
  }

  /**
   * Self-attention.
   *
   * @param x [B, L, width]
   * @return [B, L, width]
   */
  public Tensor call(Tensor x) {
    return call(x, AttentionOptions.of());
  }

  /**
   * Self-attention of which a part may be seen.
   *
   * @param x [B, L, width]
   * @param visible mask, causality and scale
   * @return [B, L, width]
   * @throws ShapeException if the layer is for another context
   */
  public Tensor call(Tensor x, AttentionOptions visible) {
    return call(
        () -> {
          if (options.contextWidth != null && options.contextWidth != options.width) {
            throw new ShapeException(
                path() + ": needs a context of width " + options.contextWidth + "; got none");
          }
          List<Tensor> qkv = Linear.callAll(x, toQ, toK, toV); // [B, L, H D] each
          Tensor q = heads(qkv.get(0), normQ); // [B, H, L, D]
          Tensor k = heads(qkv.get(1), normK);
          Tensor v = heads(qkv.get(2), null);
          return out(prefix.attend(q, k, v, visible));
        });
  }

  /**
   * Cross-attention.
   *
   * @param x [B, L, width]
   * @param context what is looked at
   * @return [B, L, width]
   */
  public Tensor call(Tensor x, Context context) {
    return call(
        () -> {
          List<Tensor> kv = context.by(this); // [B, H, Lc, D] both
          Tensor q = heads(toQ.call(x), normQ); // [B, H, L, D]
          AttentionOptions visible = AttentionOptions.of().mask(context.attentionMask());
          return out(prefix.attend(q, kv.get(0), kv.get(1), visible));
        });
  }

  /** Whether the layer is for contexts of a width. */
  boolean takesContext(int width) {
    return options.contextWidth != null && options.contextWidth == width;
  }

  /** Keys and values of states [B, L, contextWidth]: [B, H, L, D] both. */
  List<Tensor> keysAndValues(Tensor states) {
    int expected = toK.weight().value().dim(1);
    if (states.rank() != 3 || states.dim(2) != expected) {
      throw new ShapeException(
          path() + ": the context must be [B, L, " + expected + "]; got " + states.spec());
    }
    List<Tensor> result = new ArrayList<>();
    callInScope(
        () -> {
          List<Tensor> kv = Linear.callAll(states, toK, toV); // [B, L, H D] both
          result.add(heads(kv.get(0), normK));
          result.add(heads(kv.get(1), null));
          return states;
        });
    return result;
  }

  /** [B, L, H D] to [B, H, L, D], normalised. */
  private Tensor heads(Tensor x, @Nullable Layer norm) {
    boolean across = options.qkNorm.acrossHeads();
    Tensor t = norm != null && across ? norm.call(x) : x;
    t = t.reshape(x.dim(0), x.dim(1), options.heads, options.headWidth); // [B, L, H, D]
    t = norm != null && !across ? norm.call(t) : t;
    return t.permute(0, 2, 1, 3);
  }

  private Tensor out(Tensor y) {
    Tensor joined = y.permute(0, 2, 1, 3).reshape(y.dim(0), y.dim(2), y.dim(1) * y.dim(3));
    return dropout.call(toOut.call(joined)); // [B, L, width]
  }
}
