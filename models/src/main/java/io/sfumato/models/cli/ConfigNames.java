// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;

/**
 * The keys of a program's configuration: its options' names, {@code learning_rate} for {@code
 * --learning-rate}, and its arguments' labels, {@code pipeline} for {@code PIPELINE}. A key may
 * stand in a section, which is the name of a mixin of options, or the first words of the option:
 * {@code optimizer: {learning_rate: 1e-4}}, {@code checkpoint: {steps: 100}}.
 */
final class ConfigNames {
  /** Options that are about the start of a program and no part of its configuration. */
  private static final Set<String> LEFT_OUT = Set.of("help", "version", "config");

  private final Map<String, ArgSpec> arguments = new LinkedHashMap<>();
  private final Set<String> sections = new TreeSet<>();

  ConfigNames(CommandSpec spec) {
    for (OptionSpec option : spec.options()) {
      if (!LEFT_OUT.contains(name(option))) {
        arguments.put(name(option), option);
      }
    }
    for (PositionalParamSpec positional : spec.positionalParameters()) {
      arguments.putIfAbsent(name(positional), positional);
    }
    addSections(spec);
  }

  private void addSections(CommandSpec spec) {
    spec.mixins()
        .forEach(
            (name, mixin) -> {
              if (!name.equals("mixinStandardHelpOptions")) {
                sections.add(word(name));
              }
              addSections(mixin);
            });
  }

  /** The key of an option or argument. */
  static String name(ArgSpec argument) {
    if (argument instanceof OptionSpec option) {
      return word(option.longestName().replaceFirst("^-+", ""));
    }
    return word(argument.paramLabel().replaceAll("[^A-Za-z0-9_-]", ""));
  }

  private static String word(String name) {
    return name.replaceAll("([a-z])([A-Z])", "$1_$2").toLowerCase(Locale.ROOT).replace('-', '_');
  }

  /** All options and arguments by their keys, in the order of the help. */
  Map<String, ArgSpec> arguments() {
    return arguments;
  }

  /** The option or argument that a path of keys means; null if there is none. */
  @Nullable ArgSpec find(List<String> path) {
    for (int from = 0; from < path.size(); from++) {
      ArgSpec found = arguments.get(joined(path.subList(from, path.size())));
      if (found != null) {
        return found;
      }
      if (!sections.contains(word(path.get(from)))) {
        return null;
      }
    }
    return null;
  }

  /** Whether longer paths that begin so may mean something. */
  boolean isSection(List<String> path) {
    for (int from = 0; from < path.size(); from++) {
      String prefix = joined(path.subList(from, path.size())) + "_";
      if (arguments.keySet().stream().anyMatch(key -> key.startsWith(prefix))) {
        return true;
      }
      if (!sections.contains(word(path.get(from)))) {
        return false;
      }
    }
    return true;
  }

  /** A sentence about what may have been meant. */
  String hint(List<String> path) {
    TreeSet<String> all = new TreeSet<>(arguments.keySet());
    all.addAll(sections);
    String whole = joined(path);
    String last = word(path.getLast());
    String nearest =
        all.stream()
            .min(
                Comparator.comparingInt(
                        (String k) -> Math.min(Nearest.edits(whole, k), Nearest.edits(last, k)))
                    .thenComparing(k -> k))
            .orElse("");
    return "; the nearest known name is " + nearest;
  }

  private static String joined(List<String> path) {
    return word(String.join("_", path));
  }
}
