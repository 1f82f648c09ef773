// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * What PEFT's adapters of any kind may hold beside their factors: whole layers ({@code
 * modules_to_save}) and single tokens ({@code trainable_token_indices}), and its kind of tokens
 * alone.
 *
 * @param saved names of whole layers, or of modules around them
 * @param tokens numbers of tokens by the name of their embedding; "" is the model's only one
 */
record PeftBeside(List<String> saved, Map<String, List<Integer>> tokens) {
  private static final String SAVED = "modules_to_save";
  private static final String TOKENS = "trainable_token_indices";

  /** The {@code peft_type} of tokens alone, whose parameter has a shorter name. */
  static final String TOKENS_ALONE = "TRAINABLE_TOKENS";

  private static final String WRAPPER = "token_adapter.";

  static PeftBeside read(PeftConfig config, Module model) {
    Map<String, List<Integer>> tokens = new LinkedHashMap<>(config.tokens(TOKENS));
    List<Integer> unnamed = tokens.remove("");
    if (unnamed != null) {
      List<String> tables =
          model.modules().entrySet().stream()
              .filter(e -> e.getValue() instanceof Embedding)
              .map(Map.Entry::getKey)
              .filter(path -> path.matches("(.*\\.)?(token_embedding|embed_tokens|wte)"))
              .toList();
      if (tables.size() == 1) {
        tokens.put(tables.getFirst(), unnamed);
      } else {
        config.wrong(
            TOKENS,
            "given by the name of the embedding, since none is the tokens' for certain",
            unnamed,
            0);
      }
    }
    return new PeftBeside(config.names(SAVED), tokens);
  }

  /** The kind of what is beside at a path, as PEFT matches names: by the ends of paths. */
  Optional<AdapterKind> at(String path) {
    for (Map.Entry<String, List<Integer>> e : tokens.entrySet()) {
      if (path.endsWith(e.getKey())) {
        return Optional.of(new TrainedTokens(e.getValue()));
      }
    }
    for (int end = path.length(); end > 0; end = path.lastIndexOf('.', end - 1)) {
      String around = path.substring(0, end);
      if (saved.stream().anyMatch(around::endsWith)) {
        return Optional.of(new WholeLayer());
      }
    }
    return Optional.empty();
  }

  /** Reads the settings of tokens alone. */
  static Function<WeightLayer, AdapterKind> tokensAlone(PeftConfig config) {
    config.flag("init_weights", true); // of a fresh adapter
    List<Integer> indices = config.tokens("token_indices").getOrDefault("", List.of());
    if (indices.isEmpty()) {
      config.wrong("token_indices", "a list of tokens", indices, 0);
    }
    return layer -> new TrainedTokens(indices);
  }

  /** The name of a tensor in a file of PEFT's. */
  static String fileName(String name, boolean tokensAlone) {
    return tokensAlone ? name.replace(WRAPPER, "") : name;
  }

  /** Our name of a tensor in a file of PEFT's. */
  static String ourName(String name, boolean tokensAlone) {
    String end = TrainedTokens.NAME.substring(WRAPPER.length());
    return tokensAlone && name.endsWith(end)
        ? name.substring(0, name.length() - end.length()) + TrainedTokens.NAME
        : name;
  }

  /**
   * Takes what is beside the factors out of a set that is to be written.
   *
   * @param kinds by path; loses what is beside
   * @return what goes into the configuration
   * @throws IllegalArgumentException if PEFT has no form for it
   */
  static Map<String, Object> take(AdapterSet set, Map<String, AdapterKind> kinds) {
    List<String> saved = new ArrayList<>();
    Map<String, List<Integer>> tokens = new TreeMap<>();
    set.parts()
        .forEach(
            (path, part) -> {
              AdapterKind kind = kinds.get(path);
              if (kind instanceof WholeLayer) {
                saved.add(path);
              } else if (kind instanceof TrainedTokens t) {
                if (part instanceof TrainedTokens.Part p && !p.allKnown()) {
                  throw new IllegalArgumentException(
                      path + ": PEFT has no new tokens; write them with TextualInversion");
                }
                tokens.put(path, t.tokens());
              }
            });
    Map<String, Object> config = new TreeMap<>();
    boolean alone = saved.isEmpty() && tokens.size() == kinds.size();
    if (alone) {
      if (tokens.values().stream().distinct().count() > 1) {
        throw new IllegalArgumentException("PEFT wants the same tokens in all tables: " + tokens);
      }
      config.put("peft_type", TOKENS_ALONE);
      config.put("target_modules", new ArrayList<>(tokens.keySet()));
      config.put("token_indices", tokens.values().iterator().next());
      config.put("init_weights", true);
      config.put("inference_mode", true);
    } else {
      if (!saved.isEmpty()) {
        config.put(SAVED, saved);
      }
      if (!tokens.isEmpty()) {
        config.put(TOKENS, tokens);
      }
    }
    saved.forEach(kinds::remove);
    tokens.keySet().forEach(kinds::remove);
    if (kinds.isEmpty() && !alone) {
      throw new IllegalArgumentException(
          "PEFT keeps whole layers beside an adapter only; attach one, LoRA say, to another layer");
    }
    return config;
  }
}
