// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Starts real ranks: JVMs under Open MPI's mpirun. Tests that need it are skipped without. */
public final class Mpirun {
  /** A process that has ended. */
  public record Ended(int exitCode, String output, double seconds) {}

  private Mpirun() {}

  /** Skips the test, saying why, if this machine has no Open MPI. */
  static void require() {
    boolean found =
        Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
            .anyMatch(folder -> Files.isExecutable(Path.of(folder, "mpirun")));
    assumeTrue(found, "mpirun is not installed (apt-get install openmpi-bin)");
  }

  public static Process start(
      Path output, int ranks, List<String> jvm, String... mainAndArguments) {
    require();
    List<String> command =
        new ArrayList<>(
            List.of("mpirun", "-n", "" + ranks, "--oversubscribe", "--bind-to", "none"));
    command.addAll(java(jvm, mainAndArguments));
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile());
    Map<String, String> environment = builder.environment();
    environment.put("OMPI_ALLOW_RUN_AS_ROOT", "1");
    environment.put("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    try {
      return builder.start();
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A command that runs a main of these classes in a small JVM. */
  static List<String> java(List<String> jvm, String... mainAndArguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--add-modules",
            "jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED",
            "-XX:+UseSerialGC",
            "-Xmx256m",
            "-Djava.awt.headless=true"));
    command.addAll(jvm);
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(mainAndArguments));
    return command;
  }

  public static Ended await(Process process, Path output, long seconds) {
    long from = System.nanoTime();
    try {
      if (!process.waitFor(seconds, TimeUnit.SECONDS)) {
        process.destroy();
        process.waitFor(5, TimeUnit.SECONDS);
        process.destroyForcibly();
        throw new AssertionError("still running after " + seconds + " s:\n" + read(output));
      }
      return new Ended(process.exitValue(), read(output), (System.nanoTime() - from) * 1e-9);
    } catch (InterruptedException e) {
      process.destroyForcibly();
      throw new IllegalStateException(e);
    }
  }

  static String read(Path output) {
    try {
      return Files.readString(output, StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }
}
