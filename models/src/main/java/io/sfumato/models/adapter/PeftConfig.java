// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.WeightLayer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * An {@code adapter_config.json} of PEFT while it is read. Every key must be asked for, be one that
 * describes only where the file comes from, or be at the value that means nothing; else {@link
 * #requireUnderstood} tells.
 */
final class PeftConfig {
  /** Keys that say nothing about the computation. */
  private static final Set<String> DESCRIPTIVE =
      Set.of(
          "auto_mapping",
          "base_model_name_or_path",
          "ensure_weight_tying",
          "inference_mode",
          "megatron_core",
          "peft_type",
          "peft_version",
          "qalora_group_size",
          "revision",
          "task_type");

  private final Path file;
  private final JsonNode json;
  private final Set<String> asked = new HashSet<>();
  private final List<String> problems = new ArrayList<>();

  PeftConfig(Path file) {
    this.file = file;
    this.json = ModelConfig.read(file);
  }

  /** The kind's name in PEFT: LORA, LOHA, … */
  String type() {
    JsonNode type = json.get("peft_type");
    if (type == null || !type.isTextual()) {
      throw new IllegalArgumentException(file + ": peft_type must say which kind of adapter it is");
    }
    return type.asText();
  }

  int integer(String key, int otherwise) {
    JsonNode node = ask(key);
    if (node == null) {
      return otherwise;
    }
    if (!node.isIntegralNumber() || !node.canConvertToInt()) {
      return wrong(key, "a whole number", node, otherwise);
    }
    return node.intValue();
  }

  /** Ways in which a fresh LoRA begins that leave the weights of the base model alone. */
  private static final Set<String> BASE_STAYS = Set.of("gaussian", "orthogonal", "eva");

  /** How a fresh adapter began: it matters to a trained one only if the base changed as well. */
  void firstValues(String key) {
    JsonNode node = ask(key);
    if (node == null
        || node.isBoolean()
        || (node.isTextual() && BASE_STAYS.contains(node.asText()))) {
      return;
    }
    wrong(
        key,
        "true, false, gaussian, orthogonal or eva (others may change the weights of the base model"
            + " too: convert the adapter with PEFT, or save that base)",
        node,
        0);
  }

  int positive(String key, int otherwise) {
    int value = integer(key, otherwise);
    return value > 0 ? value : wrong(key, "positive", value, 1);
  }

  double number(String key, double otherwise) {
    JsonNode node = ask(key);
    if (node == null) {
      return otherwise;
    }
    return node.isNumber() && Double.isFinite(node.doubleValue())
        ? node.doubleValue()
        : wrong(key, "a number", node, otherwise);
  }

  boolean flag(String key, boolean otherwise) {
    JsonNode node = ask(key);
    if (node == null) {
      return otherwise;
    }
    return node.isBoolean() ? node.booleanValue() : wrong(key, "true or false", node, otherwise);
  }

  String text(String key, String otherwise) {
    JsonNode node = ask(key);
    if (node == null) {
      return otherwise;
    }
    return node.isTextual() ? node.asText() : wrong(key, "a string", node, otherwise);
  }

  /** Numbers by pattern, as in {@code rank_pattern}; in the file's order. */
  Map<String, Double> patterns(String key) {
    Map<String, Double> patterns = new LinkedHashMap<>();
    JsonNode node = ask(key);
    if (node != null && !node.isObject()) {
      return wrong(key, "an object of numbers by pattern", node, patterns);
    }
    if (node != null) {
      node.properties()
          .forEach(
              e -> {
                double value = e.getValue().doubleValue();
                if (e.getValue().isNumber() && Double.isFinite(value)) {
                  patterns.put(e.getKey(), value);
                } else {
                  wrong(key + "." + e.getKey(), "a number", e.getValue(), 0);
                }
              });
    }
    return patterns;
  }

  /**
   * Rank and α of each layer.
   *
   * @param r the rank where no pattern says otherwise
   * @param alpha the α where no pattern says otherwise
   * @param ranks by pattern
   * @param alphas by pattern
   */
  record Ranks(int r, double alpha, Map<String, Double> ranks, Map<String, Double> alphas) {
    int rankOf(WeightLayer layer) {
      return (int) patternFor(ranks, layer.path(), r);
    }

    double alphaOf(WeightLayer layer) {
      return patternFor(alphas, layer.path(), alpha);
    }
  }

  /** Reads {@code r}, α under its key, and the patterns of both. */
  Ranks ranks(String alphaKey) {
    Map<String, Double> ranks = patterns("rank_pattern");
    ranks.forEach(
        (pattern, rank) -> {
          if (rank < 1 || rank != Math.rint(rank) || rank > Integer.MAX_VALUE) {
            wrong("rank_pattern." + pattern, "a positive whole number", rank, 1);
          }
        });
    return new Ranks(positive("r", 8), number(alphaKey, 8), ranks, patterns("alpha_pattern"));
  }

  /** The value whose pattern is the first to fit a path. */
  static double patternFor(Map<String, Double> patterns, String path, double otherwise) {
    for (Map.Entry<String, Double> e : patterns.entrySet()) {
      if (Targets.pattern(e.getKey()).test(path)) {
        return e.getValue();
      }
    }
    return otherwise;
  }

  /**
   * How many entries of each list of truth values are true: AdaLoRA's {@code rank_pattern}.
   *
   * @param suffix what each key ends with behind the layer's path
   */
  Map<String, Integer> keptRanks(String key, String suffix) {
    Map<String, Integer> kept = new LinkedHashMap<>();
    JsonNode node = ask(key);
    if (node == null) {
      return kept;
    }
    node.properties()
        .forEach(
            e -> {
              int count = 0;
              for (JsonNode flag : e.getValue()) {
                count += flag.asBoolean() ? 1 : 0;
              }
              String name = e.getKey();
              kept.put(
                  name.endsWith(suffix) ? name.substring(0, name.length() - suffix.length()) : name,
                  count);
            });
    return kept;
  }

  /** The rule in a list or regular expression; nothing fits a missing one. */
  Predicate<String> rule(String key) {
    JsonNode node = ask(key);
    return node == null ? path -> false : rule(key, node);
  }

  /** The rule of {@code target_modules} and {@code exclude_modules}. */
  Predicate<String> targets() {
    JsonNode wanted = ask("target_modules");
    JsonNode excluded = ask("exclude_modules");
    Predicate<String> targets = wanted == null ? path -> false : rule("target_modules", wanted);
    return excluded == null ? targets : targets.and(rule("exclude_modules", excluded).negate());
  }

  /** The names in a list. */
  List<String> names(String key) {
    JsonNode node = ask(key);
    List<String> names = new ArrayList<>();
    if (node != null) {
      if (node.isTextual()) {
        names.add(node.asText());
      }
      node.forEach(n -> names.add(n.asText()));
    }
    return names;
  }

  /** Numbers of tokens by name, as in {@code trainable_token_indices}; "" for a mere list. */
  Map<String, List<Integer>> tokens(String key) {
    Map<String, List<Integer>> tokens = new LinkedHashMap<>();
    JsonNode node = ask(key);
    if (node != null && node.isObject()) {
      node.properties().forEach(e -> tokens.put(e.getKey(), indices(key, e.getValue())));
    } else if (node != null) {
      tokens.put("", indices(key, node));
    }
    return tokens;
  }

  private List<Integer> indices(String key, JsonNode node) {
    Set<Integer> indices = new LinkedHashSet<>();
    boolean fits = node.isArray() && !node.isEmpty();
    for (JsonNode n : node) {
      fits &= n.canConvertToInt() && n.isIntegralNumber() && n.intValue() >= 0;
      fits &= indices.add(n.intValue());
    }
    return fits ? List.copyOf(indices) : wrong(key, "a list of different tokens", node, List.of(0));
  }

  private Predicate<String> rule(String key, JsonNode node) {
    if (node.isTextual()) {
      return node.asText().equals("all-linear") ? Targets.all() : Targets.regex(node.asText());
    }
    if (!node.isArray()) {
      return wrong(key, "a list or a regular expression", node, path -> false);
    }
    List<String> names = new ArrayList<>();
    node.forEach(n -> names.add(n.asText()));
    return Targets.suffixes(names);
  }

  /** Marks a problem with a value. */
  <T> T wrong(String key, String required, Object got, T instead) {
    problems.add(key + " must be " + required + "; got " + got);
    return instead;
  }

  private @Nullable JsonNode ask(String key) {
    asked.add(key);
    JsonNode node = json.get(key);
    return node == null || node.isNull() ? null : node;
  }

  /**
   * Checks that nothing was wrong and no key with a meaning was left unasked.
   *
   * @throws IllegalArgumentException listing everything
   */
  void requireUnderstood() {
    json.properties()
        .forEach(
            e -> {
              String key = e.getKey();
              if (!asked.contains(key) && !DESCRIPTIVE.contains(key) && means(e.getValue())) {
                problems.add(key + " = " + e.getValue() + " is not supported");
              }
            });
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(file + ": " + String.join("; ", problems));
    }
  }

  /** Whether a value asks for something: not null, false, none, empty. */
  private static boolean means(JsonNode value) {
    return !(value.isNull()
        || (value.isBoolean() && !value.booleanValue())
        || (value.isContainerNode() && value.isEmpty())
        || (value.isTextual() && value.asText().equals("none")));
  }
}
