// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.lang.module.ModuleFinder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Starts a program of a jar again with the options that a jar cannot ask for: {@code --add-modules
 * jdk.incubator.vector}, without which all loops are scalar.
 */
final class SelfStart {
  private static final String VECTORS = "jdk.incubator.vector";

  private SelfStart() {}

  /** Whether this is {@code java -jar} without vectors, in a Java that has them. */
  static boolean isNeeded() {
    return System.getProperty("java.class.path", "").endsWith(".jar")
        && System.getProperty("jdk.module.path") == null
        && ModuleLayer.boot().findModule(VECTORS).isEmpty()
        && ModuleFinder.ofSystem().find(VECTORS).isPresent();
  }

  private static boolean choosesGarbageCollection(String option) {
    return option.matches("-XX:\\+Use\\w+GC|-Xmn.*");
  }

  /** Runs {@code main} in a process that shares this one's terminal, and returns its exit code. */
  static int run(Class<?> main, String... args) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    List<String> given = ManagementFactory.getRuntimeMXBean().getInputArguments();
    command.addAll(given);
    if (given.stream().noneMatch(SelfStart::choosesGarbageCollection)) {
      // Tensors live outside the heap, whose young garbage needs little room.
      command.addAll(List.of("-XX:+UseSerialGC", "-Xmn32m"));
    }
    command.addAll(List.of("--add-modules", VECTORS, "--enable-native-access=ALL-UNNAMED"));
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
    command.addAll(List.of(args));
    try {
      Process child = new ProcessBuilder(command).inheritIO().start();
      // A signal that ends this process ends the other one, too, and waits for its last checkpoint.
      Thread end =
          new Thread(
              () -> {
                child.destroy();
                child.onExit().join();
              });
      Runtime.getRuntime().addShutdownHook(end);
      int code = child.waitFor();
      Runtime.getRuntime().removeShutdownHook(end);
      return code;
    } catch (IOException e) {
      throw new UncheckedIOException(command.getFirst() + ": cannot be started", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return 130;
    } catch (IllegalStateException e) {
      return 130; // already ending, by a signal
    }
  }
}
