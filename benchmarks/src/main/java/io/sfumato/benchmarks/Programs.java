// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.concurrent.Callable;
import picocli.CommandLine;

/** How the programs of this package start and fail. */
public final class Programs {
  /** Exit code of what the arguments or the machine do not allow. */
  public static final int REFUSED = 2;

  private Programs() {}

  /** What a program cannot do, in one line for its user. */
  public static final class Refusal extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    /** With the line to print. */
    public Refusal(String message) {
      super(message);
    }
  }

  /**
   * Runs a command.
   *
   * @return its result; {@value #REFUSED}, after one line on the error stream, if the arguments are
   *     wrong or the command throws a {@link Refusal}
   */
  public static int run(Callable<Integer> command, String... args) {
    CommandLine line = new CommandLine(command);
    line.setParameterExceptionHandler(
        (e, given) -> {
          line.getErr().println(oneLine(line.getCommandName(), e));
          return REFUSED;
        });
    line.setExecutionExceptionHandler(
        (e, given, result) -> {
          if (e instanceof Refusal) {
            line.getErr().println(oneLine(line.getCommandName(), e));
            return REFUSED;
          }
          throw e;
        });
    return line.execute(args);
  }

  private static String oneLine(String program, Exception e) {
    String message = e.getMessage() == null ? e.toString() : e.getMessage();
    return program + ": " + message.strip().replaceAll("\\s*\\R\\s*", " ");
  }
}
