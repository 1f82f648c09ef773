// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import picocli.CommandLine.Model.ArgSpec;

/**
 * The values that configuration files give to the options of one program: a file's own over those
 * of the files that it {@code extends}, which may be one or a list, the later over the earlier.
 * What is wrong is collected, so that it can be told at once.
 */
final class ConfigValues {
  private static final String EXTENDS = "extends";

  private final ConfigNames names;
  private final List<String> problems = new ArrayList<>();
  private final Map<ArgSpec, ConfigNode> values = new LinkedHashMap<>();

  ConfigValues(ConfigNames names) {
    this.names = names;
  }

  /** What was given to each option; a null means that the option is as if it were absent. */
  Map<ArgSpec, ConfigNode> values() {
    return values;
  }

  List<String> problems() {
    return problems;
  }

  /** Takes a file, with those that it extends. */
  void addFile(Path file) {
    values.putAll(file(file, "", new LinkedHashSet<>()));
  }

  /**
   * Takes {@code key.key=value}, the value being YAML.
   *
   * @param override as it stands on the command line
   */
  void addOverride(String override) {
    int at = override.indexOf('=');
    String where = "command line, " + override;
    try {
      ConfigNode value = ConfigReader.parse(override.substring(at + 1), "command line");
      List<String> path = List.of(override.substring(0, at).split("\\."));
      Map<ArgSpec, ConfigNode> own = new LinkedHashMap<>();
      assign(path, at(value, where), where, own);
      values.putAll(own);
    } catch (IllegalArgumentException e) {
      problems.add(override + ": " + e.getMessage());
    }
  }

  private static ConfigNode at(ConfigNode node, String where) {
    return switch (node) {
      case ConfigNode.Scalar s -> new ConfigNode.Scalar(s.text(), where);
      case ConfigNode.Sequence s -> new ConfigNode.Sequence(s.items(), where);
      case ConfigNode.Mapping m -> new ConfigNode.Mapping(m.entries(), where);
    };
  }

  private Map<ArgSpec, ConfigNode> file(Path file, String asked, Set<Path> open) {
    Path real = file.toAbsolutePath().normalize();
    try {
      real = file.toRealPath();
    } catch (IOException e) {
      // The reader says that it is missing.
    }
    Map<ArgSpec, ConfigNode> all = new LinkedHashMap<>();
    if (!open.add(real)) {
      problems.add(
          asked
              + "extends goes round in a circle: "
              + String.join(
                  " extends ", open.stream().map(p -> p.getFileName().toString()).toList())
              + " extends "
              + real.getFileName());
      return all;
    }
    ConfigNode.Mapping mapping;
    try {
      mapping = ConfigReader.read(file);
    } catch (IllegalArgumentException e) {
      problems.add(asked + e.getMessage());
      open.remove(real);
      return all;
    }
    ConfigNode parents = mapping.entries().get(EXTENDS);
    if (parents != null) {
      for (ConfigNode parent :
          parents instanceof ConfigNode.Sequence list ? list.items() : List.of(parents)) {
        if (parent instanceof ConfigNode.Scalar(String name, String where) && name != null) {
          all.putAll(file(file.resolveSibling(name), where + ": extends " + name + ": ", open));
        } else {
          problems.add(parent.where() + ": extends takes a file or a list of files");
        }
      }
    }
    Map<ArgSpec, ConfigNode> own = new LinkedHashMap<>();
    mapping
        .entries()
        .forEach(
            (key, value) -> {
              if (!key.equals(EXTENDS)) {
                assign(List.of(key), value, value.where(), own);
              }
            });
    all.putAll(own);
    open.remove(real);
    return all;
  }

  private void assign(
      List<String> path, ConfigNode value, String where, Map<ArgSpec, ConfigNode> own) {
    ArgSpec argument = names.find(path);
    String key = String.join(".", path);
    boolean section =
        names.isSection(path)
            && value instanceof ConfigNode.Mapping
            && (argument == null || !Config.takesParts(argument));
    if (argument != null && !section) {
      ConfigNode before = own.putIfAbsent(argument, value);
      if (before != null) {
        problems.add(where + ": " + key + " was given already, at " + before.where());
      }
    } else if (section && value instanceof ConfigNode.Mapping mapping) {
      mapping
          .entries()
          .forEach(
              (name, inner) -> {
                List<String> longer = new ArrayList<>(path);
                longer.add(name);
                assign(longer, inner, inner.where(), own);
              });
    } else if (names.isSection(path)
        && !(value instanceof ConfigNode.Scalar scalar && scalar.text() != null)) {
      if (value instanceof ConfigNode.Sequence) {
        problems.add(where + ": " + key + " is a section: name: value, and no list");
      }
    } else {
      problems.add(where + ": unknown key " + key + names.hint(path));
    }
  }
}
