// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.Norm;
import io.sfumato.models.nn.WeightLayer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** Which layers an adapter sits in, by their paths. */
public final class Targets {
  private Targets() {}

  /**
   * Paths by pattern: {@code *} is any part of one name, {@code **} any number of names, so {@code
   * "**.to_q"} is {@code to_q} anywhere, and {@code "mid_block.**"} all below the middle block.
   * Several patterns are alternatives.
   */
  public static Predicate<String> glob(String... patterns) {
    Predicate<String> any = path -> false;
    for (String pattern : patterns) {
      StringBuilder regex = new StringBuilder();
      for (int i = 0; i < pattern.length(); i++) {
        if (pattern.startsWith("**.", i)) {
          regex.append("(?:.*\\.)?");
          i += 2;
        } else if (pattern.startsWith("**", i)) {
          regex.append(".*");
          i++;
        } else if (pattern.charAt(i) == '*') {
          regex.append("[^.]*");
        } else {
          regex.append(Pattern.quote(pattern.substring(i, i + 1)));
        }
      }
      any = any.or(Pattern.compile(regex.toString()).asMatchPredicate());
    }
    return any;
  }

  /** Every layer that the kind can adapt. */
  public static Predicate<String> all() {
    return path -> true;
  }

  /**
   * PEFT's rule for a list in {@code target_modules}: a path is meant if it equals an entry or ends
   * with a dot and the entry.
   */
  public static Predicate<String> suffixes(List<String> names) {
    List<String> copy = List.copyOf(names);
    return path -> copy.stream().anyMatch(name -> path.equals(name) || path.endsWith("." + name));
  }

  /**
   * PEFT's rule for a string in {@code target_modules}: a regular expression for the whole path.
   *
   * @throws IllegalArgumentException if it is not one
   */
  public static Predicate<String> regex(String expression) {
    return compile(expression).asMatchPredicate();
  }

  /**
   * PEFT's rule for the keys of {@code rank_pattern} and {@code alpha_pattern}: the regular
   * expression {@code (.*\.)?(key)$}, from the start of the path.
   */
  public static Predicate<String> pattern(String key) {
    Pattern compiled = compile("(.*\\.)?(" + key + ")$");
    return path -> compiled.matcher(path).lookingAt();
  }

  /**
   * The layers of a model that are meant, with their kinds; norms only for kinds that adapt them.
   *
   * @throws IllegalArgumentException if there is none, or listing those that their kind refuses
   */
  static Map<WeightLayer, AdapterKind> choose(
      Module model, Predicate<String> targets, Function<WeightLayer, AdapterKind> kinds) {
    Map<WeightLayer, AdapterKind> chosen = new LinkedHashMap<>();
    List<String> paths = new ArrayList<>();
    List<String> problems = new ArrayList<>();
    model
        .modules()
        .forEach(
            (path, module) -> {
              if (!(module instanceof WeightLayer layer)) {
                return;
              }
              boolean norm = layer instanceof Norm;
              if (!norm) {
                paths.add(path);
              } else if (!((Norm) layer).isAffine()) {
                return;
              }
              if (targets.test(path)) {
                AdapterKind kind = kinds.apply(layer);
                if (norm && !kind.adaptsNorms()) {
                  return;
                }
                String reason = kind.refuses(layer);
                if (reason != null) {
                  problems.add(path + ": " + reason);
                }
                chosen.put(layer, kind);
              }
            });
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException("cannot adapt " + String.join("; ", problems));
    }
    if (chosen.isEmpty()) {
      throw new IllegalArgumentException(
          "the targets match none of the model's "
              + paths.size()
              + " layers: "
              + String.join(", ", paths.subList(0, Math.min(20, paths.size())))
              + (paths.size() > 20 ? ", …" : ""));
    }
    return chosen;
  }

  private static Pattern compile(String expression) {
    try {
      return Pattern.compile(expression);
    } catch (PatternSyntaxException e) {
      throw new IllegalArgumentException(
          "\"" + expression + "\" is no regular expression: " + e.getDescription(), e);
    }
  }
}
