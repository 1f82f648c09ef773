// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.benchmarks.Machine;
import io.sfumato.benchmarks.Programs;
import io.sfumato.benchmarks.TextTable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Runs the kernel benchmarks by JMH and prints, for each shape, time, rate, and the share of what
 * the machine can do at the most, which is measured first: of the peak of fused multiply-adds, or
 * of the bandwidth of copying, whichever of the two bounds the kernel.
 */
@Command(
    name = "kernels",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description =
        "Times single kernels at the shapes of real models, against the machine's limits.")
public final class Kernels implements Callable<Integer> {
  private static final int[] PEAK_SIDES = {1024, 2048};
  private static final String ALLOCATED = "gc.alloc.rate.norm"; // of GCProfiler, bytes per call

  @Option(
      names = "--only",
      description = "Cases whose label (--list) contains this expression.",
      defaultValue = "")
  private String only = "";

  @Option(names = "--threads", split = ",", description = "Threads.", defaultValue = "1,2")
  private List<Integer> threads = List.of();

  @Option(names = "--seconds", description = "Time per case.", defaultValue = "3.0")
  private double seconds;

  @Option(
      names = "--warm-up",
      description = "Seconds before a case is timed, for the JIT compiler.",
      defaultValue = "3.0")
  private double warmUp;

  @Option(names = "--gemm-peak", description = "Only the two lines on the peak of products.")
  private boolean gemmPeak;

  @Option(names = "--list", description = "Prints the labels of the cases, and times nothing.")
  private boolean list;

  @Option(names = "--out", description = "Also writes what it prints to this file, as Markdown.")
  private @Nullable Path out;

  private final StringBuilder report = new StringBuilder();

  private Kernels() {}

  /** Runs the benchmarks. */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  static int run(String... args) {
    return Programs.run(new Kernels(), args);
  }

  @Override
  public Integer call() {
    List<KernelList.Case> cases = selected(only);
    if (list) {
      cases.forEach(c -> System.out.println(c.label()));
      return 0;
    }
    if (threads.isEmpty() || threads.stream().anyMatch(n -> n < 1)) {
      throw new Programs.Refusal("--threads must be numbers of at least 1; got " + threads);
    }
    print(LocalDate.now(ZoneOffset.UTC) + "; " + Machine.describe() + "\n");
    if (gemmPeak || only.isEmpty()) {
      for (int n : PEAK_SIDES) {
        print(GemmPeak.measure(n, Math.max(1, seconds)) + "\n");
      }
    }
    if (gemmPeak) {
      return 0;
    }
    Map<Integer, MachineLimits> limits = new LinkedHashMap<>();
    for (int count : threads) {
      limits.put(count, MachineLimits.measure(count));
      print(describe(limits.get(count)) + "\n");
    }
    print("\n" + table(cases, limits));
    return 0;
  }

  /**
   * The cases whose label contains an expression.
   *
   * @throws Programs.Refusal if there is none
   */
  static List<KernelList.Case> selected(String expression) {
    Pattern pattern;
    try {
      pattern = Pattern.compile(expression);
    } catch (PatternSyntaxException e) {
      throw new Programs.Refusal("--only " + expression + ": " + e.getDescription());
    }
    List<KernelList.Case> cases =
        KernelList.cases().stream().filter(c -> pattern.matcher(c.label()).find()).toList();
    if (cases.isEmpty()) {
      throw new Programs.Refusal(
          "--only " + expression + ": no case has such a label; --list prints them");
    }
    return cases;
  }

  private String table(List<KernelList.Case> cases, Map<Integer, MachineLimits> limits) {
    List<String> header = new ArrayList<>(List.of("kernel", "shape", "sizes"));
    limits.keySet().forEach(n -> header.addAll(List.of("µs, " + n + "T", "rate", "of limit")));
    header.add("garbage, kB");
    TextTable table = new TextTable(3, header);
    for (KernelList.Case one : cases) {
      List<String> row =
          new ArrayList<>(List.of(one.kernel(), one.shape().name(), one.shape().sizes()));
      List<Double> garbage = new ArrayList<>();
      limits.forEach(
          (n, limit) -> {
            System.err.println(one.label() + ", " + n + " thread(s)");
            RunResult result = time(one, n);
            double micros = result.getPrimaryResult().getScore();
            garbage.add(
                Objects.requireNonNull(result.getSecondaryResults().get(ALLOCATED)).getScore());
            Rate rate = Rate.of(one.work(), micros * 1e-6, limit);
            row.add(String.format(Locale.ROOT, "%.1f", micros));
            row.add(rate.text());
            row.add(rate.shareText());
          });
      row.add(String.format(Locale.ROOT, "%.0f", Collections.max(garbage) / 1000));
      table.add(row);
    }
    return table.toString();
  }

  /** Microseconds of one call and bytes it leaves on the heap, by JMH in a JVM of its own. */
  private RunResult time(KernelList.Case one, int count) {
    Options options =
        new OptionsBuilder()
            .include("^" + Pattern.quote(one.type().getName() + "." + one.method()) + "$")
            .param("shape", one.shape().name())
            .param("threads", String.valueOf(count))
            .warmupIterations(3)
            .warmupTime(part(warmUp, 3))
            .measurementIterations(5)
            .measurementTime(part(seconds, 5))
            .timeUnit(TimeUnit.MICROSECONDS)
            .jvmArgsAppend("--sun-misc-unsafe-memory-access=allow") // of JMH; a warning else
            .addProfiler(GCProfiler.class)
            .shouldFailOnError(true)
            .verbosity(VerboseMode.SILENT)
            .build();
    try {
      return new Runner(options).runSingle();
    } catch (RunnerException e) {
      throw new Programs.Refusal(one.label() + " failed: " + e.getMessage());
    }
  }

  private static TimeValue part(double whole, int parts) {
    return TimeValue.milliseconds(Math.max(1, Math.round(1000 * whole / parts)));
  }

  private static String describe(MachineLimits limit) {
    return String.format(
        Locale.ROOT,
        "%d thread(s): FMA peak %.1f GFLOP/s, copy %.1f GB/s (read and written)",
        limit.threads(),
        limit.flops() * 1e-9,
        limit.copy() * 1e-9);
  }

  private void print(String text) {
    System.out.print(text);
    report.append(text);
    if (out != null) {
      try {
        Files.writeString(out, report);
      } catch (IOException e) {
        throw new Programs.Refusal("--out " + out + " cannot be written: " + e.getMessage());
      }
    }
  }
}
