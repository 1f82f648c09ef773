// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Whether every JVM compiles the kernels well. The JIT compiler may give up on a method in one run
 * out of many and leave it slow for the life of the process; so this starts the suite in many fresh
 * JVMs, and fails if a case is slower in one of them than twice its median over all.
 *
 * <p>A machine that others use too makes runs slow at times, a loop that was compiled badly makes
 * all of them slow: so the fastest run of each JVM is compared in the same way.
 */
@Command(
    name = "stability",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description = "Runs the speed suite in fresh JVMs, and fails if a case is slow in one of them.")
public final class Stability implements Callable<Integer> {
  private static final double LIMIT = 2;
  private static final String SKIPPED = "COMPILE SKIPPED";

  @Option(names = "--runs", description = "Runs, each in a fresh JVM.", defaultValue = "20")
  private int runs;

  @Option(names = "--threads", description = "Threads.", defaultValue = "2")
  private int threads;

  @Option(names = "--only", description = "Cases whose name contains this expression.")
  private String only = "";

  @Option(names = "--seconds", description = "Time per case.", defaultValue = "0.5")
  private double seconds;

  @Option(
      names = "--warm-up",
      description = "Seconds before a case is timed, for the JIT compiler.",
      defaultValue = "3.0")
  private double warmUp;

  @Option(
      names = "--alone",
      description = "Each case in a JVM of its own: what was compiled before it may hide a trap.")
  private boolean alone;

  @Option(
      names = "--compilations",
      description = "Also lists the methods that the JIT compiler gave up on in a tier.")
  private boolean compilations;

  private Stability() {}

  /**
   * The times of a case in all JVMs.
   *
   * @param median their median, in ms
   * @param worst the greatest of them
   * @param worstRun the number of the run that it comes from, from 1
   */
  record Spread(double median, double worst, int worstRun) {
    static Spread of(List<Double> times) {
      double worst = Samples.greatest(times);
      return new Spread(Samples.median(times), worst, times.indexOf(worst) + 1);
    }

    double ratio() {
      return worst / median;
    }

    boolean isStable() {
      return ratio() <= LIMIT;
    }

    private List<String> cells() {
      return List.of(
          String.format(Locale.ROOT, "%.3f", median),
          String.format(Locale.ROOT, "%.3f", worst),
          String.format(Locale.ROOT, "%.2f", ratio()),
          String.valueOf(worstRun));
    }
  }

  /**
   * A case.
   *
   * @param name its name
   * @param medians the medians of the JVMs
   * @param best their fastest runs
   * @param garbage the most that one run left on the Java heap in any JVM, in MiB
   */
  record Row(String name, Spread medians, Spread best, double garbage) {
    boolean isStable() {
      return medians.isStable() && best.isStable();
    }

    private String verdict() {
      if (!best.isStable()) {
        return "UNSTABLE: no run was fast";
      }
      return isStable() ? "" : "UNSTABLE: slow at times";
    }
  }

  /** Runs the check. */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  static int run(String... args) {
    return Programs.run(new Stability(), args);
  }

  @Override
  public Integer call() {
    List<String> cases = Suite.selected(only);
    if (runs < 1 || threads < 1) {
      throw new Programs.Refusal("--runs and --threads must be at least 1");
    }
    Map<String, List<Double>> times = new LinkedHashMap<>();
    Map<String, List<Double>> best = new LinkedHashMap<>();
    Map<String, List<Double>> garbage = new LinkedHashMap<>();
    Set<String> skipped = new LinkedHashSet<>();
    for (int i = 1; i <= runs; i++) {
      System.err.printf("run %d of %d%n", i, runs);
      for (String selection : alone ? alone(cases) : List.of(only)) {
        Children.Output output = Children.run(suite(selection));
        collect(output, Measured.Quantity.TIME, times);
        collect(output, Measured.Quantity.BEST, best);
        collect(output, Measured.Quantity.GARBAGE, garbage);
        skipped.addAll(skippedIn(output.errors()));
      }
    }
    List<Row> rows = rows(times, best, garbage);
    System.out.print(table(rows));
    skipped.forEach(System.out::println);
    return rows.stream().allMatch(Row::isStable) ? 0 : 1;
  }

  private static List<String> alone(List<String> cases) {
    return cases.stream().map(name -> "^" + name + "$").toList();
  }

  private List<String> suite(String selection) {
    // the compiler's log goes to the error stream, apart from the results
    List<String> flags =
        compilations ? List.of("-XX:+PrintCompilation", "-XX:+DisplayVMOutputToStderr") : List.of();
    return Children.java(
        Suite.class,
        flags,
        List.of(
            "--threads",
            String.valueOf(threads),
            "--only=" + selection,
            "--seconds",
            String.valueOf(seconds),
            "--warm-up",
            String.valueOf(warmUp)));
  }

  private static void collect(
      Children.Output output, Measured.Quantity quantity, Map<String, List<Double>> values) {
    for (Measured line : Measured.parse(output.lines(), quantity)) {
      values.computeIfAbsent(line.name(), k -> new ArrayList<>()).add(line.value());
    }
  }

  /** The cases of all JVMs. */
  static List<Row> rows(
      Map<String, List<Double>> times,
      Map<String, List<Double>> best,
      Map<String, List<Double>> garbage) {
    List<Row> rows = new ArrayList<>();
    times.forEach(
        (name, t) ->
            rows.add(
                new Row(
                    name,
                    Spread.of(t),
                    Spread.of(best.getOrDefault(name, t)),
                    Samples.greatest(garbage.getOrDefault(name, List.of(0.0))))));
    return rows;
  }

  /** The rows as text. */
  static String table(List<Row> rows) {
    TextTable table =
        new TextTable(
            1,
            List.of(
                "case",
                "median, ms",
                "worst",
                "ratio",
                "in run",
                "fastest, ms",
                "worst",
                "ratio",
                "in run",
                "garbage, MiB/run",
                ""));
    for (Row row : rows) {
      List<String> cells = new ArrayList<>(List.of(row.name));
      cells.addAll(row.medians.cells());
      cells.addAll(row.best.cells());
      cells.add(String.format(Locale.ROOT, "%.2f", row.garbage));
      cells.add(row.verdict());
      table.add(cells);
    }
    return table.toString();
  }

  /** What the compiler gave up on, without the time and number of the compilation. */
  static List<String> skippedIn(List<String> log) {
    return log.stream()
        .filter(line -> line.contains(SKIPPED))
        .map(line -> line.strip().replaceFirst("^\\d+\\s+\\d+\\s+", ""))
        .distinct()
        .toList();
  }
}
