// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import com.sun.management.ThreadMXBean;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Recording;
import io.sfumato.tensor.exec.Trace;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * The speed suite: the cases of {@code peers/torch_suite.py} under the same names, through the
 * public API, results allocated in the timed region. Prints one JSON line per case, with what one
 * run leaves on the Java heap: megabytes there are vectors that the JIT compiler failed to keep in
 * registers.
 */
@Command(
    name = "suite",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description = "Times the cases of the speed suite, one JSON line each.")
public final class Suite implements Callable<Integer> {
  private static final int LEAST_RUNS = 7;
  private static final int WARM_RUNS = 40;
  private static final int MOST_RUNS = 500;
  private static final double MEBI = 1 << 20;
  private static final ThreadMXBean THREADS =
      ManagementFactory.getPlatformMXBean(ThreadMXBean.class);

  @Option(names = "--threads", description = "Threads.", defaultValue = "2")
  private int threads;

  @Option(names = "--only", description = "Cases whose name contains this expression.")
  private String only = "";

  @Option(names = "--seconds", description = "Time per case.", defaultValue = "1.0")
  private double seconds;

  @Option(
      names = "--warm-up",
      description =
          "Seconds before a case is timed, for the JIT compiler; up to four times as long for one"
              + " that has run fewer than 40 times by then.",
      defaultValue = "3.0")
  private double warmUp;

  @Option(
      names = "--runs",
      description = "Times exactly so many runs, and does not warm up: to try a case out.",
      defaultValue = "0")
  private int exactly;

  @Option(
      names = "--passes",
      description = "Times all cases so many times over, and warms up in the first pass only.",
      defaultValue = "1")
  private int passes;

  @Option(names = "--device", description = "cpu, cuda or cuda:1, ….", defaultValue = "cpu")
  private String deviceName = "cpu";

  @Option(
      names = "--dtype",
      description = "Type of all tensors: f32 or bf16.",
      defaultValue = "f32")
  private String dtypeName = "f32";

  @Option(
      names = "--graph",
      description = "Records each case and times its replays: on CUDA as one graph.")
  private boolean graph;

  @Option(
      names = "--memory",
      description =
          "Also the peak resident set beyond what the process had before, and on another device"
              + " than the CPU the peak of its tensors; one case only.")
  private boolean memory;

  @Option(
      names = "--trace",
      description =
          "Also tells on the error stream what one run spends its time on, by op and by module;"
              + " waits after each op.")
  private boolean trace;

  @Option(
      names = "--turns",
      description =
          "Waits for a line of standard input before each measurement: \"measure\" times the"
              + " present case, \"next\" goes on with the next one. Compare takes turns with"
              + " PyTorch so.")
  private boolean turns;

  @Option(names = "--list", description = "Prints the names of the cases, and times nothing.")
  private boolean list;

  private static final int TRACED_RUNS = 10;
  private static final BufferedReader COMMANDS =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

  private Suite() {}

  /** Runs the suite. */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  static int run(String... args) {
    return Programs.run(new Suite(), args);
  }

  @Override
  public Integer call() {
    Device device = device(deviceName);
    DType dtype = dtype(dtypeName);
    List<String> names = selected(only);
    if (list) {
      names.forEach(System.out::println);
      return 0;
    }
    if (threads < 1) {
      throw new Programs.Refusal("--threads must be at least 1; got " + threads);
    }
    if (passes < 1) {
      throw new Programs.Refusal("--passes must be at least 1; got " + passes);
    }
    if (memory && names.size() != 1) {
      throw new Programs.Refusal(
          "--memory needs a process for each case: name one with --only '^gemm_512$', or use"
              + " Compare --memory; these are "
              + names.size());
    }
    if (exactly < 0) {
      throw new Programs.Refusal("--runs must be at least 1; got " + exactly);
    }
    Parallel.setThreads(threads);
    Map<String, Supplier<SuiteCase>> cases = SuiteCases.all(device, dtype);
    cases.keySet().retainAll(names);
    Backend backend = Backends.of(device);
    for (int pass = 0; pass < passes; pass++) {
      cases.forEach((name, make) -> time(name, make, backend, dtype));
      warmUp = 0;
    }
    return 0;
  }

  /**
   * The device of a name.
   *
   * @throws Programs.Refusal if it does not work, with the reason
   */
  static Device device(String name) {
    try {
      Device device = Device.parse(name);
      Backend unused = Backends.of(device);
      return device;
    } catch (IllegalArgumentException | TensorException e) {
      throw new Programs.Refusal("--device " + name + ": " + e.getMessage());
    }
  }

  /**
   * The type of a name.
   *
   * @throws Programs.Refusal if the suite has no cases in it
   */
  static DType dtype(String name) {
    return switch (name) {
      case "f32" -> DType.F32;
      case "bf16" -> DType.BF16;
      default ->
          throw new Programs.Refusal("--dtype " + name + ": the suite has f32 and bf16 only");
    };
  }

  /**
   * The names of the cases that contain an expression.
   *
   * @throws Programs.Refusal if there is none
   */
  static List<String> selected(String expression) {
    Pattern pattern;
    try {
      pattern = Pattern.compile(expression);
    } catch (PatternSyntaxException e) {
      throw new Programs.Refusal("--only " + expression + ": " + e.getDescription());
    }
    List<String> names = SuiteCases.names().stream().filter(pattern.asPredicate()).toList();
    if (names.isEmpty()) {
      throw new Programs.Refusal(
          "--only " + expression + ": no case has such a name; --list prints them");
    }
    return names;
  }

  private void time(String name, Supplier<SuiteCase> make, Backend backend, DType dtype) {
    if (turns && !isTold()) {
      return;
    }
    ResidentSet resident = memory ? new ResidentSet() : null;
    Scope scope = Scope.open();
    try (SuiteCase benchmark = make.get()) {
      if (dtype != DType.F32) {
        requireServed(name, benchmark, dtype);
      }
      backend.synchronize();
      Runnable eager = () -> Scope.run(benchmark.body());
      try (Recording recording = graph ? recorded(eager, backend) : null) {
        Runnable run = recording == null ? eager : recording::replay;
        time(
            name,
            () -> {
              run.run();
              backend.synchronize();
            },
            backend,
            resident);
      }
      if (trace) {
        System.err.println(name + "\n" + traced(eager));
      }
    } finally {
      scope.close();
    }
  }

  /** What one run does, seen once before so that nothing is compiled meanwhile. */
  private static String traced(Runnable run) {
    Trace trace = new Trace(Executor.current());
    for (int i = 0; i < TRACED_RUNS; i++) {
      trace = new Trace(Executor.current());
      Executor.with(
          trace,
          () -> {
            run.run();
            return 0;
          });
    }
    return trace.table() + "\n" + trace.modulesAndOps();
  }

  private void time(String name, Runnable body, Backend backend, @Nullable ResidentSet resident) {
    if (exactly == 0) {
      warmUp(body);
    }
    do {
      measure(name, body, backend, resident);
    } while (turns && isTold());
  }

  /** Whether the next line of standard input asks for a measurement of the present case. */
  private static boolean isTold() {
    try {
      String line = COMMANDS.readLine();
      if (line != null && !line.equals(Turns.MEASURE) && !line.equals(Turns.NEXT)) {
        throw new Programs.Refusal(
            "--turns reads " + Turns.MEASURE + " or " + Turns.NEXT + "; got " + line);
      }
      return Turns.MEASURE.equals(line);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void measure(
      String name, Runnable body, Backend backend, @Nullable ResidentSet resident) {
    int least = turns ? 1 : LEAST_RUNS;
    double[] times = new double[Math.max(exactly, MOST_RUNS)];
    int runs = 0;
    long allocated = THREADS.getTotalThreadAllocatedBytes();
    long start = System.nanoTime();
    while (exactly > 0
        ? runs < exactly
        : runs < least || (runs < MOST_RUNS && (System.nanoTime() - start) * 1e-9 < seconds)) {
      long before = System.nanoTime();
      body.run();
      times[runs++] = (System.nanoTime() - before) * 1e-6;
    }
    double garbage = (THREADS.getTotalThreadAllocatedBytes() - allocated) / MEBI / runs;
    Arrays.sort(times, 0, runs);
    double median = runs % 2 == 1 ? times[runs / 2] : (times[runs / 2 - 1] + times[runs / 2]) / 2;
    System.out.println(line(name, median, times[0], runs, garbage, memory(resident, backend)));
  }

  /** What a case launches; it has run before, so that states and caches are there. */
  private static Recording recorded(Runnable eager, Backend backend) {
    eager.run();
    eager.run();
    return backend.record(
        () -> {
          eager.run();
          return new Tensor[0];
        });
  }

  private void warmUp(Runnable body) {
    long start = System.nanoTime();
    double warming = 0;
    for (int i = 0; i < 3 || warming < (i < WARM_RUNS ? 4 : 1) * warmUp; i++) {
      body.run();
      warming = (System.nanoTime() - start) * 1e-9;
    }
  }

  /**
   * Runs a case once, and refuses it if it does not compute in {@code dtype} throughout.
   *
   * @throws Programs.Refusal with the op that does not
   */
  private static void requireServed(String name, SuiteCase benchmark, DType dtype) {
    try {
      Executor.with(
          new OnlyDType(Executor.current(), dtype),
          () -> {
            Scope.run(benchmark.body());
            return name;
          });
    } catch (TensorException e) {
      throw new Programs.Refusal(
          "--dtype "
              + dtype.label()
              + " is not served by "
              + name
              + " ("
              + e.getMessage()
              + "); leave it out (--only)");
    }
  }

  private String line(
      String name, double median, double best, int runs, double garbage, String memory) {
    return String.format(
        Locale.ROOT,
        "{\"name\": \"%s\", \"threads\": %d, \"median_ms\": %.4f, \"best_ms\": %.4f, \"runs\":"
            + " %d, \"garbage_mb\": %.3f%s}",
        name,
        threads,
        median,
        best,
        runs,
        garbage,
        memory);
  }

  /**
   * The whole peak, and of it what tensors held at the most and what the JVM's heap has now; and
   * what tensors held at the most on the device.
   */
  private static String memory(@Nullable ResidentSet resident, Backend backend) {
    if (resident == null) {
      return "";
    }
    String host =
        String.format(
            Locale.ROOT,
            ", \"rss_mb\": %.1f, \"tensors_mb\": %.1f, \"heap_mb\": %.1f",
            resident.peak(),
            CpuBackend.instance().memory().peak() / MEBI,
            Runtime.getRuntime().totalMemory() / MEBI);
    return backend.device().isCpu()
        ? host
        : host
            + String.format(Locale.ROOT, ", \"device_mb\": %.1f", backend.memory().peak() / MEBI);
  }
}
