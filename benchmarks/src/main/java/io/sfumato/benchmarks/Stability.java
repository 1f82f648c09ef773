// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.ArrayList;
import java.util.Arrays;
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
 * <p>A machine that others use too makes runs slow at times. A loop that was compiled badly makes
 * some cases slow, and those for as long as the JVM lives. So each JVM goes through the cases
 * several times, and the fastest pass counts; the fastest run of each JVM is compared too; and the
 * times of a JVM in which more than half of the cases were slow are divided by its <em>pace</em>,
 * the median over all cases of time / median time.
 */
@Command(
    name = "stability",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description = "Runs the speed suite in fresh JVMs, and fails if a case is slow in one of them.")
public final class Stability implements Callable<Integer> {
  private static final double LIMIT = 2;

  /** Cases below which a pace would say nothing. */
  private static final int PACED = 8;

  /** The pace from which on it is told. */
  private static final double SLOW = 1.1;

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
      names = "--passes",
      description = "Passes of a JVM through all cases; the fastest counts.",
      defaultValue = "3")
  private int passes;

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
   * @param medians the medians of the JVMs, of each its fastest pass
   * @param best their fastest runs
   * @param garbage what one run left on the Java heap, in MiB: the least of a JVM's passes, the
   *     most of all JVMs
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
    if (runs < 1 || threads < 1 || passes < 1) {
      throw new Programs.Refusal("--runs, --threads and --passes must be at least 1");
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
    double[] paces = paces(times);
    List<Row> rows = rows(times, best, garbage, paces);
    System.out.print(table(rows));
    System.out.print(slowRuns(paces));
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
            String.valueOf(warmUp),
            "--passes",
            String.valueOf(passes)));
  }

  /** Adds one value of each case: the least of the passes. */
  private static void collect(
      Children.Output output, Measured.Quantity quantity, Map<String, List<Double>> values) {
    Map<String, Double> least = new LinkedHashMap<>();
    for (Measured line : Measured.parse(output.lines(), quantity)) {
      least.merge(line.name(), line.value(), Math::min);
    }
    least.forEach((name, value) -> values.computeIfAbsent(name, k -> new ArrayList<>()).add(value));
  }

  /**
   * How slow each run was in all cases together: the median of time / median time, 1 at least; 1
   * for all if there are few cases.
   *
   * @param times the times of each case, one of each run
   */
  static double[] paces(Map<String, List<Double>> times) {
    int runs = times.values().iterator().next().size();
    double[] paces = new double[runs];
    Arrays.fill(paces, 1);
    for (int r = 0; times.size() >= PACED && r < runs; r++) {
      List<Double> ratios = new ArrayList<>();
      for (List<Double> t : times.values()) {
        ratios.add(t.get(r) / Samples.median(t));
      }
      paces[r] = Math.max(1, Samples.median(ratios));
    }
    return paces;
  }

  /** The cases of all JVMs, at the paces of their runs. */
  static List<Row> rows(
      Map<String, List<Double>> times,
      Map<String, List<Double>> best,
      Map<String, List<Double>> garbage,
      double[] paces) {
    List<Row> rows = new ArrayList<>();
    times.forEach(
        (name, t) ->
            rows.add(
                new Row(
                    name,
                    Spread.of(paced(t, paces)),
                    Spread.of(paced(best.getOrDefault(name, t), paces)),
                    Samples.greatest(garbage.getOrDefault(name, List.of(0.0))))));
    return rows;
  }

  private static List<Double> paced(List<Double> times, double[] paces) {
    List<Double> paced = new ArrayList<>();
    for (int r = 0; r < times.size(); r++) {
      paced.add(times.get(r) / paces[r]);
    }
    return paced;
  }

  /** A line for each run that was slow as a whole. */
  static String slowRuns(double[] paces) {
    StringBuilder lines = new StringBuilder();
    for (int r = 0; r < paces.length; r++) {
      if (paces[r] >= SLOW) {
        lines.append(
            String.format(
                Locale.ROOT,
                "run %d took %.2f times as long as the median run in half of the cases or more: its"
                    + " times are divided by that%n",
                r + 1,
                paces[r]));
      }
    }
    return lines.toString();
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
