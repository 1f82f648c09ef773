// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.text;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A small text encoder to be trained together with a diffusion model: each word of a closed
 * vocabulary has an embedding, each place in the text another, and their sums are what
 * cross-attention looks at. The names of classes are such texts: "red circle" is two tokens, one
 * per attribute.
 */
public final class WordEncoder extends Module {
  private final WordEncoderConfig config;
  private final Map<String, Integer> tokens = new HashMap<>();
  private final Embedding tokenEmbedding;
  private final Embedding positionEmbedding;

  /** A model whose parameters come from {@code weights}. */
  public WordEncoder(Weights weights, WordEncoderConfig config) {
    super(weights);
    this.config = config;
    for (String word : config.vocabulary()) {
      tokens.put(word, tokens.size() + 1);
    }
    tokenEmbedding =
        child(
            "token_embedding",
            w -> new Embedding(w, config.vocabulary().size() + 1, config.width()));
    positionEmbedding =
        child("position_embedding", w -> new Embedding(w, config.maxTokens(), config.width()));
  }

  /**
   * Reads what {@link #save} wrote.
   *
   * @throws RuntimeException naming what is missing, unused or does not fit
   */
  public static WordEncoder open(Path folder) {
    WordEncoderConfig config = WordEncoderConfig.read(folder.resolve("config.json"));
    try (Weights weights = Weights.open(folder)) {
      WordEncoder model = new WordEncoder(weights, config);
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
    SafeTensors.save(folder.resolve("model.safetensors"), stateDict());
  }

  /** The configuration. */
  public WordEncoderConfig config() {
    return config;
  }

  /** The words of a text: lower case, split at white space. */
  static List<String> words(String text) {
    return Arrays.stream(text.strip().toLowerCase(Locale.ROOT).split("\\s+"))
        .filter(w -> !w.isEmpty())
        .toList();
  }

  /**
   * What is wrong with a text, in words.
   *
   * @return empty if it can be encoded
   */
  public List<String> problems(String text) {
    List<String> words = words(text);
    List<String> problems =
        new java.util.ArrayList<>(
            words.stream()
                .filter(w -> !tokens.containsKey(w))
                .map(w -> "the word '" + w + "' is not one of " + config.vocabulary())
                .toList());
    if (words.size() > config.maxTokens()) {
      problems.add("a text must have at most " + config.maxTokens() + " words; got '" + text + "'");
    }
    return problems;
  }

  /**
   * The tokens of texts, 0 behind the last word. An empty text is all 0: no condition.
   *
   * @return I64 [B, maxTokens], in the current scope
   * @throws IllegalArgumentException if there is a word that is not in the vocabulary, or too many
   */
  public Tensor encode(List<String> texts) {
    int length = config.maxTokens();
    long[] ids = new long[texts.size() * length];
    for (int b = 0; b < texts.size(); b++) {
      List<String> wrong = problems(texts.get(b));
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", wrong));
      }
      List<String> words = words(texts.get(b));
      for (int i = 0; i < words.size(); i++) {
        ids[b * length + i] = tokens.getOrDefault(words.get(i), 0);
      }
    }
    return Tensor.of(ids, texts.size(), length);
  }

  /**
   * The states that diffusion models are conditioned on.
   *
   * @param ids I64 [B, L], L at most maxTokens
   * @return [B, L, width]
   */
  public Tensor call(Tensor ids) {
    if (ids.rank() != 2 || ids.dim(1) > config.maxTokens()) {
      throw new ShapeException(
          "WordEncoder: tokens must be [B, L], L at most "
              + config.maxTokens()
              + "; got "
              + ids.spec());
    }
    return call(
        () -> {
          long[] positions = new long[ids.dim(1)];
          Arrays.setAll(positions, i -> i);
          Tensor at = Tensor.of(positions, positions.length).to(ids.device());
          return tokenEmbedding.call(ids).add(positionEmbedding.call(at)); // [B, L, D]
        });
  }
}
