// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.DriverLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Takes away one barrier of a kernel, or lets it wait for one asynchronous copy less, for every
 * barrier and wait there is: a test of the kernel's family must fail then, in one of the three
 * orders of threads. What no test can catch is listed with the reason.
 *
 * <p>The system property {@code sfumato.mutants} is a pattern of the mutants to try.
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
    TESTS.put("gemm.*", List.of("launch.GemmKernelsTest", "launch.FewRowsTest"));
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
    TESTS.put("sample", List.of("testing.SampleKernelsTest"));
  }

  /** Mutants that change nothing, by a pattern of their names, with the reason. */
  private static final Map<String, String> EQUIVALENT =
      Map.of(
          ".* after __threadfence\\(\\);: __syncthreads\\(\\);",
          "the emulator runs a block to its end before another one looks at what it wrote",
          "sort.cu:.* the last of its peers: __syncwarp\\(\\);",
          "the ballots that follow keep the lanes together",
          "sort.cu:146 after }: __syncthreads\\(\\);",
          "parts the rounds of a loop that more than 256 tiles need, too many for the emulator");

  private static final Pattern SITE =
      Pattern.compile(
          "__syncthreads\\(\\);|__syncwarp\\(\\);|bar_sync\\([^;]*\\);|fence_proxy_async\\(\\);|wgmma_fence\\([^;)]+\\);"
              + "|mbarrier_wait\\([^;]*\\);|(cp_async_wait|wgmma_wait)<([^>]+)>\\(([^;]*)\\);");

  private final Path module = EmulatorBuild.moduleFolder();
  private final Path base = Path.of(DriverLibrary.name()).getParent();

  private record Mutant(Path file, String name, String text, List<String> families) {}

  private List<Mutant> mutants() throws IOException {
    List<Mutant> mutants = new ArrayList<>();
    Path sources = module.resolve("src/main/cuda");
    try (Stream<Path> files = Files.list(sources)) {
      for (Path file : files.sorted().toList()) {
        String name = file.getFileName().toString();
        if (!name.matches(".*\\.cuh?|dev\\.h")) {
          continue;
        }
        String text = Files.readString(file);
        List<String> families = families(sources, name);
        Matcher site = SITE.matcher(text);
        while (site.find()) {
          long line = text.substring(0, site.start()).lines().count();
          String now =
              site.group(1) == null
                  ? ";"
                  : site.group(1) + "<" + site.group(2) + " + 1>(" + site.group(3) + ");";
          String changed = text.substring(0, site.start()) + now + text.substring(site.end());
          mutants.add(
              new Mutant(
                  file,
                  name + ":" + line + " after " + before(text, site.start()) + ": " + site.group(),
                  changed,
                  families));
        }
      }
    }
    return mutants;
  }

  /** The line before a place. */
  private static String before(String text, int at) {
    String upTo = text.substring(0, text.lastIndexOf('\n', at));
    return upTo.substring(upTo.lastIndexOf('\n') + 1).strip();
  }

  /** The families that a file is part of. */
  private static List<String> families(Path sources, String name) throws IOException {
    if (name.endsWith(".cu")) {
      return List.of(name.substring(0, name.length() - 3));
    }
    List<String> found = new ArrayList<>();
    try (Stream<Path> files = Files.list(sources)) {
      for (Path f : files.sorted().toList()) {
        if (Files.readString(f).contains("#include \"" + name + "\"")) {
          String other = f.getFileName().toString();
          if (other.endsWith(".cu")) {
            found.add(other.substring(0, other.length() - 3));
          } else if (!other.equals(name)) {
            found.addAll(families(sources, other));
          }
        }
      }
    }
    return found.stream().distinct().filter(f -> !tests(f).isEmpty()).toList();
  }

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
    List<Mutant> mutants = mutants().stream().filter(m -> m.name().matches(wanted)).toList();
    List<String> untested = new ArrayList<>();
    List<String> uncaught = new ArrayList<>();
    ExecutorService pool = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
    try {
      List<Future<Boolean>> caught = new ArrayList<>();
      for (Mutant m : mutants) {
        caught.add(pool.submit(() -> isCaught(m)));
      }
      for (int i = 0; i < mutants.size(); i++) {
        Mutant m = mutants.get(i);
        if (m.families().stream().allMatch(f -> tests(f).isEmpty())) {
          untested.add(m.name());
        } else if (!caught.get(i).get()) {
          uncaught.add(m.name());
        }
      }
    } finally {
      pool.shutdownNow();
    }
    System.out.println(
        mutants.size()
            - uncaught.size()
            - untested.size()
            + " of "
            + mutants.size()
            + " mutants caught; not caught: "
            + uncaught);
    assertEquals(List.of(), untested, "families without an entry in TESTS");
    uncaught.removeIf(
        name -> EQUIVALENT.keySet().stream().anyMatch(pattern -> name.matches(pattern)));
    assertEquals(List.of(), uncaught, "barriers that no test misses");
  }

  private boolean isCaught(Mutant m) throws IOException {
    List<String> classes =
        m.families().stream()
            .flatMap(f -> tests(f).stream())
            .distinct()
            .map(c -> "io.sfumato.cuda." + c)
            .toList();
    if (classes.isEmpty()) {
      return false;
    }
    Path folder = Files.createTempDirectory(module.resolve("target"), "mutant");
    try {
      Path sources = Files.createDirectory(folder.resolve("sources"));
      Files.writeString(sources.resolve(m.file().getFileName()), m.text());
      Path library = EmulatorBuild.of(module).mutant(base, sources, folder, m.families());
      List<String> arguments = new ArrayList<>();
      arguments.add("-D" + DriverLibrary.PROPERTY + "=" + library);
      arguments.add("-Dsfumato.cuda.exact=true");
      arguments.add("-XX:ErrorFile=/dev/null");
      arguments.addAll(classes);
      Subprocess.Result r =
          Subprocess.run(MutantRun.class, Map.of(), arguments.toArray(String[]::new));
      assertTrue(r.exit() != MutantRun.NOTHING_RAN, () -> m.name() + "\n" + r.output());
      System.out.println(
          m.name()
              + ": "
              + r.output().lines().reduce("", (a, b) -> a.startsWith("caught") ? a : b));
      return r.exit() != 0; // a crash is a failure too
    } finally {
      try (Stream<Path> all = Files.walk(folder)) {
        for (Path p : all.sorted(java.util.Comparator.reverseOrder()).toList()) {
          Files.delete(p);
        }
      }
    }
  }
}
