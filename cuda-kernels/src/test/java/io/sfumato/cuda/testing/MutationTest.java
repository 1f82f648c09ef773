// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.DriverLibrary;
import io.sfumato.cuda.testing.BarrierSites.Site;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Takes away one barrier of a kernel, or lets it wait for one asynchronous copy less, for every
 * barrier and wait there is: a test must fail then.
 *
 * <p>The kernels are compiled once, with every barrier in an {@code if} and with the search for
 * races ({@code emu_races.h}). First all tests of the families concerned run with nothing left out:
 * no race may be found, and it is noted which barriers each test reaches and how long it takes.
 * Then each barrier is left out in turn, in a process of its own, while the tests that reach it
 * run, the quickest first, until one fails: in one order of threads, then in the two others.
 *
 * <p>The system property {@code sfumato.mutants} is a pattern of the mutants to try. With {@value
 * EmulatorControl#ORDERS_PROPERTY} of 1 everything runs in that order alone: quick, and enough for
 * all that is a race.
 */
@Tag("slow")
class MutationTest {
  /** The test classes of a family, by a pattern of its name. */
  private static final Map<String, List<String>> TESTS = new TreeMap<>();

  static {
    TESTS.put("conv.*", List.of("ConvKernelsTest", "launch.ConvTilesTest"));
    TESTS.put(".*norm.*", List.of("NormKernelsTest"));
    TESTS.put("reduce|softmax|statistics|losses|products", List.of("ReduceKernelsTest"));
    TESTS.put("codes", List.of("CodeKernelsTest"));
    TESTS.put("index|sort", List.of("IndexKernelsTest"));
    TESTS.put("resample", List.of("ResampleKernelsTest"));
    TESTS.put("optimizers", List.of("UpdateKernelsTest"));
    TESTS.put("gemm_(f|bf|tf|rows).*", List.of("launch.GemmKernelsTest", "launch.FewRowsTest"));
    TESTS.put("(gemm|low_rank)_hopper.*", List.of("launch.WgmmaTest", "launch.GemmKernelsTest"));
    TESTS.put("low_rank", List.of("launch.LowRankKernelsTest"));
    TESTS.put("quantized", List.of("QuantizedKernelsTest"));
    TESTS.put("quantized_mma", List.of("launch.QuantizedProductsTest"));
    TESTS.put("hadamard", List.of("HadamardKernelsTest"));
    TESTS.put("inverse", List.of("InverseKernelsTest"));
    TESTS.put("gated|gatedunit", List.of("CudaOpCasesTest"));
    TESTS.put("attention_(forward|backward).*", List.of("AttentionKernelsTest"));
    TESTS.put("attention_hopper.*", List.of("launch.AttentionHopperTest"));
    TESTS.put("choice|elementwise.*|random", List.of("ElementwiseKernelsTest"));
    TESTS.put("copy|shaping", List.of("MoveKernelsTest"));
    TESTS.put("graph", List.of("CudaGraphTest"));
  }

  /** Instructions for accesses of memory, without the library that they are meant for. */
  private static final List<String> FLAGS =
      List.of(
          "-O1",
          "-mtls-dialect=gnu2",
          "-DSFUMATO_EMU_RACES",
          "-fsanitize=thread",
          "--param=tsan-instrument-func-entry-exit=0",
          "-Wno-tsan",
          "-nodefaultlibs",
          "-Wl,--no-as-needed",
          "-lstdc++",
          "-lm",
          "-lc",
          "-lgcc_s",
          "-lgcc");

  private static final String ALL_ORDERS = "1,-1,2";

  /** The orders of threads that tests run in. */
  private static final String ORDERS =
      System.getProperty(EmulatorControl.ORDERS_PROPERTY, ALL_ORDERS);

  private final Path module = EmulatorBuild.moduleFolder();
  private final Path folder = module.resolve("target/mutants");
  private final BarrierSites sites;

  MutationTest() throws IOException {
    sites = new BarrierSites(module.resolve("src/main/cuda"));
  }

  /** A test, and how long it took. */
  private record Timed(String id, long milliseconds) {}

  /** What became of a mutant. */
  private record Outcome(boolean caught, String how) {}

  private static List<String> tests(String family) {
    return TESTS.entrySet().stream()
        .filter(e -> family.matches(e.getKey()))
        .flatMap(e -> e.getValue().stream())
        .toList();
  }

  @Test
  void everyBarrierAndWaitIsNeeded() throws Exception {
    assumeTrue(EmulatorControl.isEmulated());
    String wanted = System.getProperty("sfumato.mutants", ".*");
    List<Site> mutants = sites.all().stream().filter(s -> s.name().matches(wanted)).toList();
    Set<String> families =
        mutants.stream().flatMap(m -> m.families().stream()).collect(Collectors.toSet());
    assertEquals(
        List.of(),
        families.stream().filter(f -> tests(f).isEmpty()).sorted().toList(),
        "families without an entry in TESTS");
    Set<String> classes = new TreeSet<>();
    families.forEach(f -> classes.addAll(tests(f)));

    Path sourcesNow = folder.resolve("sources");
    sites.instrument(sourcesNow);
    Path library =
        EmulatorBuild.of(module)
            .withSources(sourcesNow, FLAGS, folder)
            .build(Path.of(DriverLibrary.name()).getParent(), families);

    ExecutorService pool = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
    Map<Integer, List<Timed>> reaching = new TreeMap<>();
    Map<String, Outcome> outcomes = new LinkedHashMap<>();
    try {
      List<Callable<List<String>>> records = new ArrayList<>();
      classes.forEach(c -> records.add(() -> record(library, c)));
      for (Future<List<String>> lines : pool.invokeAll(records)) {
        for (String line : lines.get()) {
          String[] part = line.split("\t", -1);
          for (String site : part[2].isEmpty() ? new String[0] : part[2].split(",")) {
            reaching
                .computeIfAbsent(Integer.valueOf(site), s -> new ArrayList<>())
                .add(new Timed(part[0], Long.parseLong(part[1])));
          }
        }
      }
      reaching.values().forEach(l -> l.sort(Comparator.comparingLong(Timed::milliseconds)));
      List<Callable<Outcome>> runs = new ArrayList<>();
      for (Site m : mutants) {
        runs.add(() -> run(library, m, reaching.getOrDefault(m.number(), List.of())));
      }
      List<Future<Outcome>> done = pool.invokeAll(runs);
      for (int i = 0; i < mutants.size(); i++) {
        outcomes.put(mutants.get(i).name(), done.get(i).get());
      }
    } finally {
      pool.shutdownNow();
    }
    List<String> uncaught =
        outcomes.entrySet().stream()
            .filter(e -> !e.getValue().caught)
            .map(e -> e.getKey() + "   " + e.getValue().how)
            .toList();
    System.out.println(
        mutants.size() - uncaught.size() + " of " + mutants.size() + " mutants caught");
    assertEquals(List.of(), uncaught, "barriers that no test misses");
  }

  /** Runs the tests of a class with all barriers in place: a line for each, as they say. */
  private List<String> record(Path library, String name) throws IOException {
    Path record = folder.resolve("record-" + name + ".txt");
    Subprocess.Result r =
        run(
            library,
            Duration.ofMinutes(20),
            0,
            List.of(
                "-D" + MutantRun.RECORD + "=" + record,
                "-D" + EmulatorControl.ORDERS_PROPERTY + "=" + ORDERS,
                "io.sfumato.cuda." + name));
    assertEquals(0, r.exit(), () -> name + " with all barriers in place\n" + r.output());
    return Files.readAllLines(record);
  }

  private Outcome run(Path library, Site mutant, List<Timed> tests) throws IOException {
    if (tests.isEmpty()) {
      return new Outcome(false, "(no test reaches it)");
    }
    Path list = Files.createTempFile(folder, "tests", ".txt");
    Outcome outcome = new Outcome(false, "");
    try {
      Files.write(list, tests.stream().map(Timed::id).toList());
      long seconds = 60 + 5 * tests.stream().mapToLong(Timed::milliseconds).sum() / 1000;
      for (String orders : ORDERS.equals(ALL_ORDERS) ? List.of("1", "-1,2") : List.of(ORDERS)) {
        Subprocess.Result r =
            run(
                library,
                Duration.ofSeconds(seconds),
                mutant.number(),
                List.of("-D" + EmulatorControl.ORDERS_PROPERTY + "=" + orders, "@" + list));
        assertTrue(r.exit() != MutantRun.NOTHING_RAN, () -> mutant.name() + "\n" + r.output());
        String how = r.output().lines().filter(l -> l.startsWith("caught")).findFirst().orElse("");
        boolean late = r.exit() == Subprocess.KILLED;
        outcome =
            new Outcome(
                r.exit() != 0 && !late, // a crash is a failure too
                late ? "(no end after " + seconds + " s)" : how);
        if (outcome.caught) {
          break;
        }
      }
    } finally {
      Files.delete(list);
    }
    System.out.println(mutant.name() + ": " + (outcome.caught ? "" : "NOT CAUGHT ") + outcome.how);
    return outcome;
  }

  private Subprocess.Result run(Path library, Duration limit, int leftOut, List<String> more)
      throws IOException {
    Path file = Files.createTempFile(folder, "sites", ".bin");
    try {
      Files.write(
          file,
          ByteBuffer.allocate(MutantRun.SITES_BYTES)
              .order(ByteOrder.nativeOrder())
              .putInt(0, leftOut)
              .array());
      List<String> arguments =
          new ArrayList<>(
              List.of(
                  "-D" + DriverLibrary.PROPERTY + "=" + library,
                  "-Dsfumato.cuda.exact=true",
                  "-Dsfumato.cuda.plans=false",
                  "-Dsfumato.cuda.nvrtc=false",
                  "-XX:ErrorFile=/dev/null",
                  "-XX:TieredStopAtLevel=1",
                  "-XX:+UseSerialGC"));
      arguments.addAll(more);
      return Subprocess.run(
          limit,
          MutantRun.class,
          Map.of(MutantRun.SITES, file.toString()),
          arguments.toArray(String[]::new));
    } finally {
      Files.delete(file);
    }
  }
}
