// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.cpu.Parallel;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * The speed suite: the cases of {@code peers/torch_suite.py} under the same names, through the
 * public API, results allocated in the timed region. Prints one JSON line per case.
 */
@Command(
    name = "suite",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description = "Times the cases of the speed suite, one JSON line each.")
public final class Suite implements Callable<Integer> {
  private static final int LEAST_RUNS = 7;
  private static final int MOST_RUNS = 500;

  @Option(names = "--threads", description = "Threads.", defaultValue = "2")
  private int threads;

  @Option(names = "--only", description = "Cases whose name contains this expression.")
  private String only = "";

  @Option(names = "--seconds", description = "Time per case.", defaultValue = "1.0")
  private double seconds;

  @Option(
      names = "--warm-up",
      description = "Seconds before a case is timed, for the JIT compiler.",
      defaultValue = "3.0")
  private double warmUp;

  private Suite() {}

  /** Runs the suite. */
  public static void main(String[] args) {
    System.exit(new CommandLine(new Suite()).execute(args));
  }

  @Override
  public Integer call() {
    Parallel.setThreads(threads);
    Pattern pattern = Pattern.compile(only);
    for (Map.Entry<String, Supplier<SuiteCase>> e : SuiteCases.all().entrySet()) {
      if (pattern.matcher(e.getKey()).find()) {
        time(e.getKey(), e.getValue());
      }
    }
    return 0;
  }

  private void time(String name, Supplier<SuiteCase> make) {
    Scope scope = Scope.open();
    try (SuiteCase benchmark = make.get()) {
      double[] times = new double[MOST_RUNS];
      long start = System.nanoTime();
      for (int i = 0; i < 3 || (System.nanoTime() - start) * 1e-9 < warmUp; i++) {
        Scope.run(benchmark.body());
      }
      int runs = 0;
      start = System.nanoTime();
      while (runs < LEAST_RUNS
          || (runs < MOST_RUNS && (System.nanoTime() - start) * 1e-9 < seconds)) {
        long before = System.nanoTime();
        Scope.run(benchmark.body());
        times[runs++] = (System.nanoTime() - before) * 1e-6;
      }
      Arrays.sort(times, 0, runs);
      double median = runs % 2 == 1 ? times[runs / 2] : (times[runs / 2 - 1] + times[runs / 2]) / 2;
      System.out.printf(
          Locale.ROOT,
          "{\"name\": \"%s\", \"threads\": %d, \"median_ms\": %.4f, \"best_ms\": %.4f, \"runs\":"
              + " %d}%n",
          name,
          threads,
          median,
          times[0],
          runs);
    } finally {
      scope.close();
    }
  }
}
