// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.AutoComplete.GenerateCompletion;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** All programs behind one name: {@code sfumato train ddpm --minutes 10}. */
@Command(
    name = "sfumato",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    description = "Trains, fine-tunes and samples diffusion models, and converts their files.")
public final class Sfumato implements Callable<Integer> {
  /** What the help says of the words that have programs behind them. */
  private static final Map<String, String> GROUPS =
      Map.of("train", "Trains a model from the beginning.");

  @Spec private @Nullable CommandSpec spec;

  private Sfumato() {}

  /** A word with programs behind it. */
  @Command(mixinStandardHelpOptions = true, versionProvider = Version.class)
  private static final class Group implements Callable<Integer> {
    @Spec private @Nullable CommandSpec spec;

    @Override
    public Integer call() {
      return usage(spec);
    }
  }

  /** The programs by the names they have here. */
  static CommandLine commands() {
    Map<String, Class<?>> programs = new LinkedHashMap<>();
    ServiceLoader.load(ProgramProvider.class, Sfumato.class.getClassLoader())
        .forEach(
            provider ->
                provider
                    .programs()
                    .forEach(
                        (name, program) -> {
                          if (programs.put(name, program) != null) {
                            throw new IllegalStateException("two programs are called " + name);
                          }
                        }));
    programs.put("merge", MergeAdapters.class);
    programs.put("extract", ExtractLora.class);
    programs.put("convert", Convert.class);
    programs.put("inspect", Inspect.class);
    programs.put("report", MakeReport.class);
    programs.put("completion", GenerateCompletion.class);
    CommandLine all = new CommandLine(new Sfumato());
    programs.forEach((name, program) -> add(all, name, program));
    return all;
  }

  private static void add(CommandLine all, String name, Class<?> program) {
    int space = name.indexOf(' ');
    String word = name.substring(space + 1);
    CommandLine to = all;
    if (space > 0) {
      String group = name.substring(0, space);
      to = all.getSubcommands().get(group);
      if (to == null) {
        to = new CommandLine(new Group()).setCommandName(group);
        to.getCommandSpec().usageMessage().description(GROUPS.getOrDefault(group, ""));
        all.addSubcommand(to);
      }
    }
    CommandLine command = new CommandLine(program).setCommandName(word);
    if (command.getCommandSpec().versionProvider() == null) {
      command.getCommandSpec().versionProvider(new Version());
    }
    to.addSubcommand(command);
  }

  /**
   * Runs a program and exits with its code. From a jar without the options that Sfumato wants of
   * Java, it runs in a second process that has them.
   *
   * @param args the program's name and its options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(SelfStart.isNeeded() ? SelfStart.run(Sfumato.class, args) : run(args));
  }

  /** Runs a program and returns its exit code. */
  static int run(String... args) {
    return Program.run(commands(), args);
  }

  @Override
  public Integer call() {
    return usage(spec);
  }

  /** Without a program there is nothing to do: tells which there are. */
  private static int usage(@Nullable CommandSpec spec) {
    if (spec != null) {
      spec.commandLine().usage(spec.commandLine().getErr());
    }
    return 2;
  }
}
