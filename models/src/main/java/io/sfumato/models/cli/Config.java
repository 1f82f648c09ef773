// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;

/**
 * A command line with the configuration file that it names written out: {@code --config run.yaml
 * optimizer.learning_rate=1e-4 --steps 100}. The values of the file, and over them the overrides
 * that follow it, become options as if they had been typed; options that are typed beat them. So a
 * program's options are defined once, and picocli checks values from wherever they come.
 */
final class Config {
  /** The option that every program has. */
  static final String OPTION = "--config";

  private static final Pattern OVERRIDE =
      Pattern.compile("[A-Za-z][A-Za-z0-9_-]*(\\.[A-Za-z][A-Za-z0-9_-]*)*=.*", Pattern.DOTALL);
  private static final Pattern NAMED = Pattern.compile("--[a-z][a-z0-9-]*");

  private final List<String> arguments;
  private final List<String> problems = new ArrayList<>();
  private final Map<String, String> places = new LinkedHashMap<>();

  private Config(List<String> arguments) {
    this.arguments = new ArrayList<>(arguments);
  }

  /** Gives every program below a command the option, so that help and completion have it. */
  static void addOption(CommandLine command) {
    command.getSubcommands().values().forEach(Config::addOption);
    if (command.getSubcommands().isEmpty()
        && !command.getCommandName().equals("completion")
        && command.getCommandSpec().findOption(OPTION) == null) {
      command
          .getCommandSpec()
          .addOption(
              OptionSpec.builder(OPTION)
                  .paramLabel("FILE")
                  .type(Path.class)
                  .description(
                      "YAML with values for these options; name=value after it changes them, and"
                          + " options beat both.")
                  .build());
    }
  }

  /**
   * Reads the configuration that a command line names.
   *
   * @param root the program, or all of them
   * @param args as typed
   */
  static Config of(CommandLine root, String... args) {
    List<String> all = List.of(args);
    CommandLine command = root;
    int from = 0;
    for (CommandLine next = root; next != null; from++) {
      command = next;
      next = from < args.length ? command.getSubcommands().get(args[from]) : null;
    }
    from--;
    Config config = new Config(all);
    if (command.getCommandSpec().findOption(OPTION) != null) {
      config.expand(root, command, all.subList(0, from), all.subList(from, all.size()));
    }
    return config;
  }

  /** The command line with the file's values in it. */
  String[] arguments() {
    return arguments.toArray(String[]::new);
  }

  /** Parses for one program, to the end whatever is wrong. */
  private record Parsing(CommandLine root, CommandLine command, List<String> words) {
    CommandLine.ParseResult parse(List<String> args) {
      List<String> all = new ArrayList<>(words);
      all.addAll(args);
      Set<CommandLine> parsers = new LinkedHashSet<>(List.of(root));
      for (CommandLine c = command; c != null; c = c.getParent()) {
        parsers.add(c);
      }
      parsers.forEach(c -> c.getCommandSpec().parser().collectErrors(true));
      try {
        CommandLine.ParseResult result = root.parseArgs(all.toArray(String[]::new));
        while (result.hasSubcommand()) {
          result = result.subcommand();
        }
        return result;
      } finally {
        parsers.forEach(c -> c.getCommandSpec().parser().collectErrors(false));
      }
    }

    /** The options and arguments that are there: they are not taken from the file. */
    Set<ArgSpec> options(List<String> args) {
      CommandLine.ParseResult parsed = parse(args);
      Set<ArgSpec> all = new LinkedHashSet<>(parsed.matchedOptions());
      if (!parsed.matchedPositionals().isEmpty()) {
        all.addAll(command.getCommandSpec().positionalParameters());
      }
      return all;
    }
  }

  /** What is wrong with the file. */
  List<String> problems() {
    return problems;
  }

  /** A message about options with the places where their values came from. */
  String placed(String message) {
    Set<String> where = new LinkedHashSet<>();
    for (Matcher m = NAMED.matcher(message); m.find(); ) {
      String place = places.get(m.group());
      if (place != null) {
        where.add(m.group() + " is from " + place);
      }
    }
    return where.isEmpty() ? message : message + " (" + String.join("; ", where) + ")";
  }

  private void expand(
      CommandLine root, CommandLine command, List<String> words, List<String> typed) {
    Parsing parsing = new Parsing(root, command, words);
    List<String> rest = new ArrayList<>();
    List<String> overrides = new ArrayList<>();
    Path file = null;
    for (int i = 0; i < typed.size(); i++) {
      String arg = typed.get(i);
      boolean attached = arg.startsWith(OPTION + "=");
      if (!attached && !arg.equals(OPTION)) {
        rest.add(arg);
        continue;
      }
      if (file != null) {
        problems.add(OPTION + " stands twice; a file can extend others: extends: [a.yaml, b.yaml]");
      }
      if (!attached && i + 1 == typed.size()) {
        return; // picocli says that the file is missing
      }
      file = Path.of(attached ? arg.substring(OPTION.length() + 1) : typed.get(++i));
      while (i + 1 < typed.size() && OVERRIDE.matcher(typed.get(i + 1)).matches()) {
        overrides.add(typed.get(++i));
      }
    }
    if (file == null) {
      return;
    }
    ConfigValues values = new ConfigValues(new ConfigNames(command.getCommandSpec()));
    values.addFile(file);
    overrides.forEach(values::addOverride);
    problems.addAll(values.problems());
    List<String> written = written(parsing, values.values(), parsing.options(rest));
    arguments.clear();
    arguments.addAll(words);
    arguments.addAll(written);
    arguments.add(OPTION + "=" + file);
    arguments.addAll(rest);
  }

  private List<String> written(
      Parsing parsing, Map<ArgSpec, ConfigNode> values, Set<ArgSpec> typed) {
    List<String> options = new ArrayList<>();
    List<String> positionals = new ArrayList<>();
    values.forEach(
        (argument, value) -> {
          if (typed.contains(argument)) {
            return;
          }
          List<String> texts = texts(argument, value);
          String reason = reason(parsing, argument, texts);
          if (reason != null) {
            problems.add(value.where() + ": " + ConfigNames.name(argument) + reason);
          } else if (argument instanceof OptionSpec option) {
            places.put(option.longestName(), value.where());
            texts.forEach(text -> options.add(option.longestName() + "=" + text));
          } else {
            positionals.addAll(texts);
          }
        });
    options.addAll(positionals);
    return options;
  }

  /** Why a value is no value of an option; null if it is one. */
  private static @Nullable String reason(Parsing parsing, ArgSpec argument, List<String> texts) {
    if (texts.size() > 1 && !argument.isMultiValue()) {
      return " takes one value; got a list of " + texts.size();
    }
    if (!(argument instanceof OptionSpec option)) {
      return null;
    }
    List<String> args = texts.stream().map(text -> option.longestName() + "=" + text).toList();
    for (Exception e : parsing.parse(args).errors()) {
      boolean ofThis =
          e instanceof ParameterException p
              && !(e instanceof MissingParameterException)
              && argument.equals(p.getArgSpec());
      if (ofThis) {
        return ": " + e.getMessage();
      }
    }
    return null;
  }

  private List<String> texts(ArgSpec argument, ConfigNode value) {
    return switch (value) {
      case ConfigNode.Scalar scalar -> scalar.text() == null ? List.of() : List.of(scalar.text());
      case ConfigNode.Sequence list ->
          list.items().stream().flatMap(item -> texts(argument, item).stream()).toList();
      case ConfigNode.Mapping mapping -> {
        if (takesParts(argument)) {
          yield List.of(settings(mapping));
        }
        problems.add(
            mapping.where() + ": " + ConfigNames.name(argument) + " takes a value, no mapping");
        yield List.of();
      }
    };
  }

  /** Whether a value has named parts. */
  static boolean takesParts(ArgSpec argument) {
    return Arrays.asList(argument.auxiliaryTypes()).contains(Settings.class);
  }

  private String settings(ConfigNode.Mapping mapping) {
    Map<String, String> parts = new LinkedHashMap<>();
    mapping
        .entries()
        .forEach(
            (name, part) -> {
              switch (part) {
                case ConfigNode.Scalar s when s.text() != null -> parts.put(name, s.text());
                case ConfigNode.Sequence list ->
                    parts.put(
                        name,
                        String.join(
                            "|",
                            list.items().stream()
                                .map(i -> i instanceof ConfigNode.Scalar s ? "" + s.text() : "?")
                                .toList()));
                case ConfigNode.Scalar s -> {} // null: as if absent
                case ConfigNode.Mapping inner ->
                    problems.add(inner.where() + ": " + name + " takes a value, no mapping");
              }
            });
    return new Settings(parts).toString();
  }
}
