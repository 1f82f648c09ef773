// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.benchmarks.Comparison.Side;
import io.sfumato.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * The speed suite beside PyTorch: {@link Suite} and {@code torch_suite.py} measure each case in
 * turn, a fraction of a second at a time, and one table tells of both.
 */
@Command(
    name = "compare",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description = "Runs the speed suite and PyTorch's in turn, and prints one table.")
public final class Compare implements Callable<Integer> {
  private static final String PEER = "PyTorch";

  @Option(names = "--python", description = "Python with PyTorch.", defaultValue = "python3")
  private String python = "python3";

  @Option(
      names = "--peer",
      description = "PyTorch's side of the suite.",
      defaultValue = "benchmarks/peers/torch_suite.py")
  private Path peer = Path.of("benchmarks/peers/torch_suite.py");

  @Option(
      names = "--rounds",
      description = "Rounds; in each, both sides measure each case once.",
      defaultValue = "9")
  private int rounds;

  @Option(names = "--threads", split = ",", description = "Threads.", defaultValue = "1,2")
  private List<Integer> threads = List.of();

  @Option(names = "--only", description = "Cases whose name contains this expression.")
  private String only = "";

  @Option(names = "--seconds", description = "Time per case and round.", defaultValue = "0.3")
  private double seconds;

  @Option(
      names = "--warm-up",
      description = "Seconds before a case of Sfumato is timed, for the JIT compiler.",
      defaultValue = "3.0")
  private double warmUp;

  @Option(names = "--device", description = "cpu or cuda.", defaultValue = "cpu")
  private String device = "cpu";

  @Option(names = "--dtype", description = "f32 or bf16.", defaultValue = "f32")
  private String dtype = "f32";

  @Option(
      names = "--memory",
      description = "Compares peak memory, each case in a process of its own, instead of time.")
  private boolean memory;

  @Option(names = "--out", description = "Also writes the table to this file, as Markdown.")
  private @Nullable Path out;

  private Compare() {}

  /** Runs the comparison. */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  static int run(String... args) {
    return Programs.run(new Compare(), args);
  }

  @Override
  public Integer call() {
    boolean onCpu = Suite.device(device).isCpu();
    DType unusedType = Suite.dtype(dtype);
    List<String> names = Suite.selected(only);
    if (rounds < 1) {
      throw new Programs.Refusal("--rounds must be at least 1; got " + rounds);
    }
    if (threads.isEmpty() || threads.stream().anyMatch(n -> n < 1)) {
      throw new Programs.Refusal("--threads must be numbers of at least 1; got " + threads);
    }
    String version = torchVersion(python, peer);
    Measured.Quantity quantity =
        !memory
            ? Measured.Quantity.TIME
            : onCpu ? Measured.Quantity.MEMORY : Measured.Quantity.DEVICE_MEMORY;
    Comparison comparison = new Comparison(quantity, PEER);
    write("not finished\n", version);
    for (int count : threads) {
      if (memory) {
        inProcesses(names, count, comparison, version);
      } else {
        inTurn(names, count, comparison, version);
      }
    }
    System.out.print(comparison.table());
    return 0;
  }

  /** Both sides wait for one another, case by case and round by round. */
  private void inTurn(List<String> names, int count, Comparison comparison, String version) {
    List<String> options = options(only, count);
    options.add("--turns");
    try (Turns ours = new Turns(ours(options));
        Turns theirs = new Turns(theirs(options))) {
      for (String name : names) {
        System.err.printf("%d thread(s), %s%n", count, name);
        for (int round = 0; round < rounds; round++) {
          comparison.read(Side.OURS, List.of(ours.measure()));
          comparison.read(Side.THEIRS, List.of(theirs.measure()));
        }
        ours.next();
        theirs.next();
        write(comparison.table(), version);
      }
    }
  }

  /** A process for each measurement. */
  private void inProcesses(List<String> names, int count, Comparison comparison, String version) {
    for (int round = 1; round <= rounds; round++) {
      System.err.printf("%d thread(s), round %d of %d%n", count, round, rounds);
      for (String name : names) {
        List<String> options = options("^" + name + "$", count);
        comparison.read(Side.OURS, Children.run(ours(options)).lines());
        comparison.read(Side.THEIRS, Children.run(theirs(options)).lines());
      }
      write(comparison.table(), version);
    }
  }

  /** The options that both suites have. */
  private List<String> options(String selection, int count) {
    List<String> options = new ArrayList<>();
    options.addAll(List.of("--threads", String.valueOf(count)));
    options.addAll(List.of("--only=" + selection, "--seconds", String.valueOf(seconds)));
    options.addAll(List.of("--device", device, "--dtype", dtype));
    if (memory) {
      options.add("--memory");
    }
    return options;
  }

  private List<String> ours(List<String> options) {
    List<String> all = new ArrayList<>(options);
    all.addAll(List.of("--warm-up", String.valueOf(warmUp)));
    return Children.java(Suite.class, List.of(), all);
  }

  private List<String> theirs(List<String> options) {
    List<String> command = new ArrayList<>(List.of(python, peer.toString()));
    command.addAll(options);
    return command;
  }

  /**
   * The version of the PyTorch that a Python has.
   *
   * @throws Programs.Refusal if there is no such Python, it has no PyTorch or the suite is not
   *     there, with the remedy
   */
  static String torchVersion(String python, Path peer) {
    if (!Files.isRegularFile(peer)) {
      throw new Programs.Refusal(
          peer + " is not there; start in the root of the repository, or name it with --peer");
    }
    String remedy =
        "; install it (python3 -m venv venv; venv/bin/pip install -r "
            + peer.resolveSibling("requirements.txt")
            + ") and name that Python with --python venv/bin/python";
    try {
      return Children.run(List.of(python, "-c", "import torch; print(torch.__version__)"))
          .lines()
          .getLast();
    } catch (Programs.Refusal e) {
      throw new Programs.Refusal("no PyTorch: " + e.getMessage() + remedy);
    }
  }

  private void write(String table, String version) {
    if (out == null) {
      return;
    }
    String text =
        LocalDate.now(ZoneOffset.UTC)
            + "; "
            + Machine.describe()
            + ", "
            + PEER
            + " "
            + version
            + "; "
            + dtype
            + " on "
            + device
            + (!memory
                ? ", median times"
                : device.equals("cpu")
                    ? ", peak resident set beyond the process' own"
                    : ", peak of the tensors on the device")
            + ", least / median of "
            + rounds
            + " rounds, the two in turn. Ratio = "
            + PEER
            + " / Sfumato, of the least / median over the rounds.\n\n"
            + table;
    try {
      Files.writeString(out, text);
    } catch (IOException e) {
      throw new Programs.Refusal("--out " + out + " cannot be written: " + e.getMessage());
    }
  }
}
