// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import io.sfumato.cuda.driver.DriverLibrary;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Runs a program in a new Java process on the same emulated driver. */
public final class Subprocess {
  private Subprocess() {}

  /** How a process ended, and all it wrote. */
  public record Result(int exit, String output) {}

  /**
   * Runs a class with a {@code main} method.
   *
   * @param main the class
   * @param environment additions to the environment, such as {@code SFUMATO_EMU_DEVICES}
   * @param arguments Java options first, then the program's arguments
   */
  public static Result run(Class<?> main, Map<String, String> environment, String... arguments) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                "--add-modules",
                "jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                "-D" + DriverLibrary.PROPERTY + "=" + DriverLibrary.name(),
                "-Dsfumato.cuda.images=" + System.getProperty("sfumato.cuda.images", "")));
    List<String> rest = new ArrayList<>(List.of(arguments));
    while (!rest.isEmpty() && rest.getFirst().startsWith("-")) {
      command.add(rest.removeFirst());
    }
    command.add(main.getName());
    command.addAll(rest);
    try {
      ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
      builder.environment().putAll(environment);
      Process process = builder.start();
      process.getOutputStream().close();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return new Result(process.waitFor(), output);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }
}
