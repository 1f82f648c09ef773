// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A distribution over maps of codes: a Transformer like GPT-2 (Radford et al. 2019) that gives each
 * code, in row-major order, the probabilities that those before it leave.
 *
 * <p>What goes in at a position is the vector of the class, plus that of the code before (none at
 * the first position), plus that of the position. The last row of the table of classes stands for
 * "no class"; training with it now and then makes guidance possible (Ho and Salimans 2022).
 *
 * {@snippet :
 * Tensor logits = prior.call(codes, labels);                                  // [B, L, K]
 * Tensor drawn = CodeSampler.sample(prior, labels, CodeSampler.options(), rng, done); // [B, h, w]
 * }
 */
public final class CodePrior extends Module {
  private static final String WEIGHTS = "model.safetensors";
  private static final double BASE = 10_000;

  private final CodePriorConfig config;
  private final Embedding codeTable;
  private final Embedding classTable;
  private final @Nullable Embedding positionTable;
  private final Dropout dropout;
  private final List<PriorBlock> blocks;
  private final LayerNorm normOut;
  private final Linear head;

  /** A model whose parameters come from {@code weights}. */
  public CodePrior(Weights weights, CodePriorConfig c) {
    super(weights);
    config = c;
    Init init = Init.normal(0.02);
    codeTable = child("wte", w -> new Embedding(w, c.codes(), c.hidden(), init));
    classTable = child("wce", w -> new Embedding(w, c.classes() + 1, c.hidden(), init));
    positionTable =
        c.positions().equals("learned")
            ? child("wpe", w -> new Embedding(w, c.length(), c.hidden(), init))
            : null;
    dropout = child("drop", w -> new Dropout(w, c.dropout()));
    blocks = children("h", c.layers(), (w, i) -> new PriorBlock(w, c));
    normOut = child("ln_f", w -> new LayerNorm(w, c.hidden(), 1e-5, true));
    head = child("lm_head", w -> new Linear(w, c.hidden(), c.codes(), false, init, Init.zeros()));
  }

  /**
   * Reads a model that {@link #save} wrote.
   *
   * @throws WeightsException if weights are missing or too many
   */
  public static CodePrior open(Path folder) {
    CodePriorConfig config = CodePriorConfig.read(folder.resolve("config.json"));
    try (Weights weights = Weights.open(folder.resolve(WEIGHTS))) {
      CodePrior model = new CodePrior(weights, config);
      try {
        weights.requireAllUsed();
      } catch (WeightsException e) {
        model.close();
        throw e;
      }
      return model;
    }
  }

  /** Writes {@code config.json} and {@code model.safetensors}. */
  public void save(Path folder) {
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    SafeTensors.save(folder.resolve(WEIGHTS), stateDict());
  }

  /** The configuration. */
  public CodePriorConfig config() {
    return config;
  }

  /** The label that stands for "no class". */
  public int noClass() {
    return config.classes();
  }

  /**
   * Logits of every code of whole maps, given those before it.
   *
   * @param codes [B, h, w] or [B, L], I64
   * @param labels [B], I64; {@link #noClass} for none
   * @return [B, L, K]
   */
  public Tensor call(Tensor codes, Tensor labels) {
    int b = codes.dim(0);
    int n = config.length();
    if (codes.numel() != (long) b * n) {
      throw new ShapeException(
          "CodePrior: maps must have "
              + config.height()
              + " x "
              + config.width()
              + " codes; got "
              + codes.shape());
    }
    return logits(codes.reshape(b, n).slice(1, 0, n - 1), labels);
  }

  /**
   * The cross entropy of the codes, a mean over all positions: nats per code.
   *
   * @param codes [B, h, w] or [B, L], I64
   * @param labels [B], I64; {@link #noClass} for none
   */
  public Tensor loss(Tensor codes, Tensor labels) {
    return call(
        () -> {
          Tensor logits = call(codes, labels); // [B, L, K]
          int rows = Math.toIntExact(codes.numel());
          return NN.crossEntropy(logits.reshape(rows, config.codes()), codes.reshape(rows));
        });
  }

  /**
   * Logits of the first code, and of each that follows one of {@code before}.
   *
   * @param before [B, t], I64, t &lt; L
   * @param labels [B], I64
   * @return [B, t + 1, K]
   */
  Tensor logits(Tensor before, Tensor labels) {
    return call(
        () -> {
          int b = before.dim(0);
          int t = before.dim(1);
          Tensor label = classTable.call(labels).reshape(b, 1, config.hidden()); // [B, 1, n]
          Tensor x = label;
          if (t > 0) {
            x = Shaping.concat(1, label, codeTable.call(before).add(label)); // [B, t + 1, n]
          }
          return run(x.add(positions(0, t + 1, x)), null, 0);
        });
  }

  /** What one round of sampling after another leaves behind: the caches of all blocks. */
  List<PriorBlock.Cache> caches(int batch) {
    Tensor like = codeTable.weight().value();
    return Stream.generate(() -> PriorBlock.Cache.empty(like, batch, config))
        .limit(config.layers())
        .toList();
  }

  /**
   * Logits of one code, with the caches of those before it.
   *
   * @param before the code before, [B]; null at the first position
   * @param labels [B]
   * @param position of the code
   * @return [B, K]
   */
  Tensor next(@Nullable Tensor before, Tensor labels, int position, List<PriorBlock.Cache> caches) {
    return call(
        () -> {
          int b = labels.dim(0);
          Tensor x = classTable.call(labels); // [B, n]
          x = before == null ? x : x.add(codeTable.call(before));
          x = x.reshape(b, 1, config.hidden());
          Tensor y = run(x.add(positions(position, position + 1, x)), caches, position);
          return y.reshape(b, config.codes());
        });
  }

  private Tensor run(Tensor x, @Nullable List<PriorBlock.Cache> caches, int position) {
    Tensor h = dropout.call(x); // [B, T, n]
    for (int i = 0; i < blocks.size(); i++) {
      h = blocks.get(i).call(h, caches == null ? null : caches.get(i), position);
    }
    return head.call(normOut.call(h)); // [B, T, K]
  }

  /** Vectors of positions, [to - from, n]. */
  private Tensor positions(int from, int to, Tensor like) {
    if (positionTable != null) {
      return positionTable.weight().value().slice(0, from, to);
    }
    int n = config.hidden();
    double[] values = new double[(to - from) * n];
    for (int p = from; p < to; p++) {
      for (int i = 0; i < n; i++) {
        double angle = p / Math.pow(BASE, (i & ~1) / (double) n);
        values[(p - from) * n + i] = (i & 1) == 0 ? Math.sin(angle) : Math.cos(angle);
      }
    }
    DType wide = like.dtype().accumulator();
    return Tensor.of(values, wide, like.device(), Shape.of(to - from, n).dims()).to(like.dtype());
  }
}
