// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.PrefixSlot;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Prefix tuning (Li and Liang 2021, <a
 * href="https://arxiv.org/abs/2101.00190">arXiv:2101.00190</a>): n trained keys and values in each
 * attention, which all queries see before those of the tokens, in PEFT's form. {@code
 * prompt_embeddings} is [n, 2 L H D]; of its columns, block 2l is the keys and block 2l + 1 the
 * values of attention l, in the order of the model's modules, each [H, D].
 *
 * <p>With a projection the rows come from a small network, {@code W₂ tanh(W₁ e + b₁) + b₂}, which
 * trains more steadily; files hold its result alone, as PEFT's do, so what is read has none.
 *
 * <p>One difference from language models: there PEFT's prefix also takes the first n positions, so
 * tokens are counted from n on. Here tokens keep their positions.
 *
 * {@snippet :
 * try (var prefix =
 *     PrefixTuning.attach(unet, Targets.glob("**.attn2"), PrefixTuning.tokens(8), rng)) {
 *   var result = Autograd.valueAndGrad(prefix.parameters(), () -> loss());
 * }
 * }
 */
public final class PrefixTuning extends PromptLearning {
  private static final String TYPE = "PREFIX_TUNING";

  /**
   * What is attached. Immutable; {@code PrefixTuning.tokens(8).projection(64)}.
   *
   * @param tokens n, keys and values in each attention
   * @param hidden width inside the projection; null for none
   * @param zero whether keys and values start at zero, instead of N(0, 1) without a projection
   */
  public record Options(int tokens, @Nullable Integer hidden, boolean zero) {
    /** Checks the values. */
    public Options {
      if (tokens < 1 || (hidden != null && hidden < 1)) {
        throw new IllegalArgumentException(
            "tokens and the width of the projection must be positive; got "
                + tokens
                + " and "
                + hidden);
      }
    }

    /** The same with a projection. */
    public Options projection(int width) {
      return new Options(tokens, width, zero);
    }

    /** The same with keys and values that start at zero. */
    public Options startAtZero() {
      return new Options(tokens, hidden, true);
    }
  }

  /** So many tokens, no projection. */
  public static Options tokens(int n) {
    return new Options(n, null, false);
  }

  /** Attentions of one shape. */
  private record Shapes(Map<String, PrefixSlot.Holder> holders, int heads, int headWidth) {
    int width() {
      return heads * headWidth;
    }
  }

  /** The network of a projection, with PEFT's names. */
  private static final class Projection extends Module {
    private final Embedding embedding;
    private final Linear first;
    private final Linear second;

    Projection(Weights weights, Options options, int hidden, int width, int columns) {
      super(weights);
      embedding = child("embedding", w -> new Embedding(w, options.tokens, width));
      first = child("transform.0", w -> new Linear(w, width, hidden));
      Init init = options.zero ? Init.zeros() : Init.fanIn(hidden);
      second = child("transform.2", w -> new Linear(w, hidden, columns, true, init, init));
    }

    /** Columns of all rows. */
    Tensor columns(int from, int to) {
      Tensor h = Num.tanh(first.call(embedding.weight().value())); // [n, hidden]
      Tensor w = second.weight().value().slice(0, from, to);
      Tensor b = second.bias().orElseThrow().value().slice(0, from, to);
      return NN.linear(h, w, b);
    }
  }

  private final Shapes shapes;
  private final int tokens;
  private final @Nullable Parameter rows;
  private final @Nullable Projection projection;
  private final List<PrefixSlot> filled = new ArrayList<>();

  private PrefixTuning(Weights weights, Shapes shapes, Options options) {
    super(weights);
    this.shapes = shapes;
    tokens = options.tokens;
    int columns = 2 * shapes.holders.size() * shapes.width();
    Integer hidden = options.hidden;
    if (hidden == null) {
      Init init = options.zero ? Init.zeros() : Init.normal(1);
      rows = parameter(KEY, Shape.of(tokens, columns), init);
      projection = null;
    } else {
      rows = null;
      projection =
          child("prompt_encoder", w -> new Projection(w, options, hidden, shapes.width(), columns));
    }
    int layer = 0;
    for (PrefixSlot.Holder holder : shapes.holders.values()) {
      int index = layer++;
      try {
        holder.prefixSlot().attach(() -> isOn() ? of(index) : null);
        filled.add(holder.prefixSlot());
      } catch (IllegalStateException e) {
        close();
        throw e;
      }
    }
  }

  /**
   * Fresh keys and values.
   *
   * @param model the model
   * @param targets which of its attentions, by path: see {@link Targets}
   * @throws IllegalArgumentException if no attention is meant, or they differ in heads or width
   * @throws IllegalStateException if one has a prefix already
   */
  public static PrefixTuning attach(
      Module model, Predicate<String> targets, Options options, Rng rng) {
    Shapes shapes = shapes(model, targets);
    Tensor like = model.parameters().getFirst().value();
    return new PrefixTuning(Weights.init(rng, like.dtype(), like.device()), shapes, options);
  }

  /**
   * Reads a folder of PEFT.
   *
   * @param targets which attentions of the model it is for; PEFT's files do not say
   * @throws IllegalArgumentException about everything in the configuration that is wrong, is not
   *     supported, or does not fit the model
   * @throws io.sfumato.tensor.io.WeightsException if a tensor is missing, misshapen, or left over;
   *     the model stays as it was
   */
  public static PrefixTuning open(Module model, Predicate<String> targets, Path folder) {
    PeftConfig config = new PeftConfig(folder.resolve("adapter_config.json"));
    Size size = size(config, TYPE, folder);
    config.flag("prefix_projection", false); // files hold its result
    config.integer("encoder_hidden_size", 0);
    config.text("init_weights", "");
    Shapes shapes = shapes(model, targets);
    require(config, "token_dim", shapes.width(), size.width());
    require(config, "num_attention_heads", shapes.heads, size.heads());
    require(config, "num_layers", shapes.holders.size(), size.layers());
    config.requireUnderstood();
    return read(folder, model, weights -> new PrefixTuning(weights, shapes, tokens(size.tokens())));
  }

  private static void require(PeftConfig config, String key, int ours, int theirs) {
    if (ours != theirs) {
      config.wrong(key, "the model's " + ours, theirs, 0);
    }
  }

  private static Shapes shapes(Module model, Predicate<String> targets) {
    Map<String, PrefixSlot.Holder> holders = new LinkedHashMap<>();
    List<String> all = new ArrayList<>();
    model
        .modules()
        .forEach(
            (path, module) -> {
              if (module instanceof PrefixSlot.Holder holder) {
                all.add(path);
                if (targets.test(path)) {
                  holders.put(path, holder);
                }
              }
            });
    if (holders.isEmpty()) {
      throw new IllegalArgumentException("the targets match none of the attentions " + all);
    }
    PrefixSlot.Holder first = holders.values().iterator().next();
    holders.forEach(
        (path, holder) -> {
          if (holder.heads() != first.heads() || holder.headWidth() != first.headWidth()) {
            throw new IllegalArgumentException(
                path
                    + ": all attentions must have one shape; it has "
                    + holder.heads()
                    + " heads of "
                    + holder.headWidth()
                    + ", others "
                    + first.heads()
                    + " of "
                    + first.headWidth());
          }
        });
    return new Shapes(holders, first.heads(), first.headWidth());
  }

  /** The paths of the attentions, in the order of their columns. */
  public List<String> layers() {
    return List.copyOf(shapes.holders.keySet());
  }

  private Tensor columns(int from, int to) {
    if (rows != null) {
      return rows.value().slice(1, from, to);
    }
    if (projection == null) {
      throw new IllegalStateException("there is neither a table nor a projection");
    }
    return projection.columns(from, to);
  }

  private PrefixSlot.KeysAndValues of(int layer) {
    int width = shapes.width();
    Tensor both = columns(2 * layer * width, 2 * (layer + 1) * width); // [n, 2 H D]
    Tensor split = both.reshape(tokens, 2, shapes.heads, shapes.headWidth);
    return new PrefixSlot.KeysAndValues(
        split.select(1, 0).permute(1, 0, 2), split.select(1, 1).permute(1, 0, 2)); // [H, n, D]
  }

  @Override
  Tensor flattened() {
    return columns(0, 2 * shapes.holders.size() * shapes.width());
  }

  @Override
  Map<String, Object> settings() {
    Map<String, Object> settings = new TreeMap<>();
    settings.put("peft_type", TYPE);
    settings.put("num_virtual_tokens", tokens);
    settings.put("token_dim", shapes.width());
    settings.put("num_attention_heads", shapes.heads);
    settings.put("num_layers", shapes.holders.size());
    settings.put("prefix_projection", projection != null);
    if (projection != null) {
      settings.put("encoder_hidden_size", projection.first.weight().value().dim(0));
    }
    return settings;
  }

  /** Takes the prefixes out of the attentions and lets go of them. */
  @Override
  public void close() {
    filled.forEach(PrefixSlot::detach);
    filled.clear();
    super.close();
  }
}
