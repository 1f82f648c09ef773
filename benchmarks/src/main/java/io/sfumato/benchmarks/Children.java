// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Processes that measure: programs of this package in JVMs of their own, and others. */
final class Children {
  private Children() {}

  /**
   * What a process printed.
   *
   * @param lines its output
   * @param errors its error stream
   */
  record Output(List<String> lines, List<String> errors) {}

  /**
   * The command that starts a program on the JDK, the flags and the class path of this process.
   *
   * @param main its class
   * @param flags further flags of the JVM
   * @param args its arguments
   */
  static List<String> java(Class<?> main, List<String> flags, List<String> args) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    command.addAll(flags);
    command.add("-classpath");
    command.add(System.getProperty("java.class.path"));
    command.add(main.getName());
    command.addAll(args);
    return command;
  }

  /**
   * Runs a command to its end.
   *
   * @throws Programs.Refusal if it cannot be started or fails, with the last line it printed
   */
  static Output run(List<String> command) {
    Path errors = null;
    try {
      errors = Files.createTempFile("sfumato-bench", ".txt");
      Process process =
          new ProcessBuilder(command)
              .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
              .redirectError(errors.toFile())
              .start();
      List<String> lines;
      int code;
      try {
        lines = process.inputReader(StandardCharsets.UTF_8).lines().toList();
        code = process.waitFor();
      } finally {
        process.destroy();
      }
      Output output = new Output(lines, Files.readAllLines(errors, StandardCharsets.UTF_8));
      if (code != 0) {
        throw new Programs.Refusal(
            command.getFirst() + " ended with code " + code + ": " + lastLine(output));
      }
      return output;
    } catch (IOException e) {
      throw new Programs.Refusal(command.getFirst() + " cannot be run: " + e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new Programs.Refusal("interrupted");
    } finally {
      delete(errors);
    }
  }

  private static String lastLine(Output output) {
    List<String> all = new ArrayList<>(output.lines);
    all.addAll(output.errors);
    return all.stream().filter(line -> !line.isBlank()).reduce("", (a, b) -> b);
  }

  private static void delete(@Nullable Path file) {
    if (file != null) {
      try {
        Files.deleteIfExists(file);
      } catch (IOException e) {
        file.toFile().deleteOnExit();
      }
    }
  }
}
