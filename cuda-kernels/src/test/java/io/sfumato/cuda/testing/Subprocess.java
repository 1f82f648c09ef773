// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import io.sfumato.cuda.driver.DriverLibrary;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Runs a program in a new Java process on the same emulated driver. */
public final class Subprocess {
  /** The exit status of a process that ran for too long. */
  static final int KILLED = 137;

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
    return run(Duration.ofDays(1), main, environment, arguments);
  }

  /**
   * The same, but a process that goes on for too long is killed.
   *
   * @param limit for how long it may run; its exit status is {@value #KILLED} when it did not end
   */
  static Result run(
      Duration limit, Class<?> main, Map<String, String> environment, String... arguments) {
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
      boolean[] late = {false};
      Thread clock =
          Thread.ofVirtual()
              .start(
                  () -> {
                    try {
                      late[0] = !process.waitFor(limit);
                    } catch (InterruptedException e) {
                      late[0] = true;
                    }
                    if (late[0]) {
                      process.destroyForcibly();
                    }
                  });
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      int exit = process.waitFor();
      clock.join();
      return new Result(late[0] ? KILLED : exit, output);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }
}
