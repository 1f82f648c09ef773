// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A suite that was started with {@code --turns}: it measures when it is told to and rests while the
 * other side measures, so both see the machine as it is in the same second. A machine that is
 * shared changes its speed from one minute to the next.
 */
final class Turns implements AutoCloseable {
  /** Told to a suite: time the present case, once more. */
  static final String MEASURE = "measure";

  /** Told to a suite: go on with the next case. */
  static final String NEXT = "next";

  /** How long the threads of some libraries spin before they sleep, and more. */
  private static final long REST_MILLIS = 30;

  private final String program;
  private final Process process;
  private final Writer commands;
  private final BufferedReader lines;

  /**
   * Starts a suite.
   *
   * @throws Programs.Refusal if it cannot be started
   */
  Turns(List<String> command) {
    program = command.getFirst();
    try {
      process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    } catch (IOException e) {
      throw new Programs.Refusal(program + " cannot be run: " + e.getMessage());
    }
    commands = process.outputWriter(StandardCharsets.UTF_8);
    lines = process.inputReader(StandardCharsets.UTF_8);
  }

  /**
   * Times the present case.
   *
   * @return the line that the suite printed
   * @throws Programs.Refusal if the suite has ended
   */
  String measure() {
    tell(MEASURE);
    try {
      String line = lines.readLine();
      while (line != null && !line.startsWith("{")) {
        line = lines.readLine();
      }
      if (line == null) {
        throw ended();
      }
      Thread.sleep(REST_MILLIS);
      return line;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new Programs.Refusal("interrupted");
    }
  }

  /** Goes on with the next case. */
  void next() {
    tell(NEXT);
  }

  private void tell(String command) {
    try {
      commands.write(command + "\n");
      commands.flush();
    } catch (IOException e) {
      throw ended();
    }
  }

  private Programs.Refusal ended() {
    try {
      return new Programs.Refusal(
          program + " ended with code " + process.waitFor() + " before it had measured all cases");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return new Programs.Refusal("interrupted");
    }
  }

  /** Ends the suite. */
  @Override
  public void close() {
    process.destroy();
  }
}
