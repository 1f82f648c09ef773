// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.distributed.CollectiveException;
import io.sfumato.models.distributed.Ranks;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.WeightsException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine;

/**
 * Runs a program from its command line. Exit codes: 0 when done, 1 after a failure, 2 after wrong
 * options or input, 130 when interrupted; every failure is one line that says what and where.
 */
public final class Program {
  private Program() {}

  /**
   * Runs a program.
   *
   * @param program a class with picocli's {@code @Command}
   * @param args its command line
   * @return the exit code
   */
  public static int run(Callable<Integer> program, String... args) {
    return run(new CommandLine(program), args);
  }

  /** The same with a command line that may have subcommands. */
  static int run(CommandLine command, String... args) {
    Config.addOption(command);
    Config config = Config.of(command, args);
    command.setExecutionExceptionHandler(
        (e, c, result) -> {
          c.getErr().println(e.getMessage() == null ? e.toString() : e.getMessage());
          return isInputError(e) ? 2 : 1;
        });
    command.setExecutionStrategy(parsed -> execute(parsed, config));
    command.setParameterExceptionHandler(
        (e, a) -> {
          List<String> all = new ArrayList<>(config.problems());
          all.add(config.placed(String.valueOf(e.getMessage())) + " (see --help)");
          e.getCommandLine().getErr().println(Problems.text(all));
          return 2;
        });
    return command.execute(config.arguments());
  }

  private static int execute(CommandLine.ParseResult parsed, Config config) {
    CommandLine.ParseResult program = parsed;
    while (program.hasSubcommand()) {
      program = program.subcommand();
    }
    CommandLine command = program.commandSpec().commandLine();
    if (CommandLine.executeHelpRequest(parsed) != null) {
      return 0;
    }
    try {
      check(program.commandSpec(), config);
    } catch (IllegalArgumentException e) {
      command.getErr().println(e.getMessage());
      return 2;
    }
    try {
      return new CommandLine.RunLast().execute(parsed);
    } catch (OutOfMemoryError e) {
      String message =
          "out of memory (" + e.getMessage() + "); a smaller --batch or --size needs less";
      throw new CommandLine.ExecutionException(
          command, message, new IllegalArgumentException(message, e));
    }
  }

  /** What is wrong with the configuration, and what the program says of its options. */
  private static void check(CommandLine.Model.CommandSpec spec, Config config) {
    Problems problems = new Problems();
    config.problems().forEach(problem -> problems.require(false, problem));
    Problems own = new Problems();
    ask(spec, own);
    own.attempt(() -> checkProcesses(spec));
    own.messages().forEach(message -> problems.require(false, config.placed(message)));
    problems.raise();
  }

  /** Several processes would do the same work, and write the same files, one over the other. */
  private static void checkProcesses(CommandLine.Model.CommandSpec spec) {
    int processes;
    try {
      processes = Ranks.started();
    } catch (CollectiveException e) {
      throw new IllegalArgumentException(e.getMessage(), e);
    }
    require(
        processes == 1 || isTogether(spec),
        "mpirun has started "
            + processes
            + " processes, and "
            + spec.qualifiedName()
            + " is the work of one; start it without mpirun. Those that train share the work");
  }

  private static boolean isTogether(CommandLine.Model.CommandSpec spec) {
    return spec.userObject() instanceof Together
        || spec.mixins().values().stream().anyMatch(Program::isTogether);
  }

  private static void ask(CommandLine.Model.CommandSpec spec, Problems problems) {
    if (spec.userObject() instanceof Checked checked) {
      checked.check(problems);
    }
    spec.mixins().values().forEach(mixin -> ask(mixin, problems));
  }

  private static boolean isInputError(Exception e) {
    return e instanceof IllegalArgumentException
        || e instanceof DatasetException
        || e instanceof TensorFileException
        || e instanceof WeightsException
        || e instanceof TensorException
        || e instanceof UncheckedIOException;
  }

  /**
   * Prints a line.
   *
   * @param format as in {@link String#format}
   * @param arguments what it is filled with
   */
  public static void say(String format, Object... arguments) {
    System.out.printf(format + "%n", arguments);
  }

  /**
   * Checks an option.
   *
   * @param ok whether it is right
   * @param message names the option, and what came
   * @throws IllegalArgumentException with {@code message} if {@code ok} is false
   */
  public static void require(boolean ok, String message) {
    if (!ok) {
      throw new IllegalArgumentException(message);
    }
  }

  /**
   * The type that {@code --dtype} names.
   *
   * @param name f32, f16 or bf16
   * @throws IllegalArgumentException if it names none
   */
  public static DType floatingType(String name) {
    return switch (name) {
      case "f32" -> DType.F32;
      case "f16" -> DType.F16;
      case "bf16" -> DType.BF16;
      default ->
          throw new IllegalArgumentException("--dtype must be f32, f16 or bf16; got " + name);
    };
  }
}
