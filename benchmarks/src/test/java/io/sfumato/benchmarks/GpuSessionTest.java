// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The bundle's {@code gpu-session} with programs, a clock and limits that are made up. */
class GpuSessionTest {
  private static final String H200 = "cuda:0: NVIDIA H200, compute capability 9.0, driver";
  private static final String A100 = "cuda:0: NVIDIA A100, compute capability 8.0, driver";

  @TempDir Path folder;
  private Path bin;
  private Path fakes;
  private String fault = "";

  @BeforeEach
  void programs() throws IOException {
    bin = Files.createDirectories(folder.resolve("bundle/bin"));
    fakes = Files.createDirectory(folder.resolve("fakes"));
    Files.copy(Path.of("src/bundle/bin/gpu-session"), bin.resolve("gpu-session"));
    script(
        bin.resolve("sfumato-java"),
        "case $1 in *GpuCheck) if [ -n \"$DEVICE\" ]; then echo \"$DEVICE\"; else",
        "echo 'WARNING: Using incubator modules: x' >&2; echo 'no test, because none' >&2; exit 2",
        "fi ;; *GemmTimings) sleep 5 ;; *) echo 'a figure' ;; esac");
    script(
        bin.resolve("gpu-tests"),
        "echo '[       12 tests successful      ]'; if [ -n \"$FAULT\" ]; then",
        "echo '[ 7 tests failed   ]'; exit 1; fi");
    for (String name : List.of("gpu-suite", "gpu-kernels", "gpu-train")) {
      script(bin.resolve(name), "echo \"$0 $* $SFUMATO_JAVA_OPTIONS\"");
    }
    script(fakes.resolve("python3"), "exit 1");
    script(
        fakes.resolve("timeout"), // -k 5 LIMIT PROGRAM...: a limit of 120 s is one second
        "shift 2; limit=$1; shift; echo \"$limit ${*##*/}\" >> \"$LOG\"",
        "if [ \"$limit\" = 120 ]; then limit=1; fi; exec \"$TIMEOUT\" -k 5 $limit \"$@\"");
    script(
        fakes.resolve("date"), // seconds go on by STEP at each call
        "if [ \"$1\" != +%s ]; then echo 2026-01-01; exit; fi",
        "echo >> \"$LOG.clock\"; echo $((1000 + STEP * $(wc -l < \"$LOG.clock\")))");
  }

  private static void script(Path file, String... lines) throws IOException {
    Files.writeString(file, "#!/bin/sh\n" + String.join("\n", lines) + "\n");
    assertTrue(file.toFile().setExecutable(true));
  }

  /** How it ended and what it wrote. */
  private record Result(int code, String text) {}

  private Result run(String device, int step, String... options) throws Exception {
    List<String> command = new ArrayList<>(List.of("sh", bin.resolve("gpu-session") + ""));
    command.addAll(List.of(options));
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    String path = System.getenv("PATH");
    Path timeout =
        Stream.of(path.split(":", -1))
            .map(p -> Path.of(p, "timeout"))
            .filter(Files::isExecutable)
            .findFirst()
            .orElseThrow();
    builder
        .environment()
        .putAll(
            Map.of(
                "PATH", fakes + ":" + path,
                "DEVICE", device,
                "STEP", step + "",
                "FAULT", fault,
                "TIMEOUT", timeout + "",
                "LOG", folder.resolve("limits") + ""));
    Process p = builder.directory(folder.toFile()).start();
    String text = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Result(p.waitFor(), text);
  }

  /** What became of the programs, in their order. */
  private static List<String> outcomes(Result r) {
    return r.text()
        .lines()
        .filter(l -> l.matches("(ok|failed|hung|cut off|skipped|stopped|not started) .*"))
        .map(l -> l.replaceAll(" {2,}", " ").replaceFirst("(ok|failed|hung) \\d+ ", "$1 "))
        .toList();
  }

  @Test
  void whatIsMostImportantComesFirstAndGoesOnAfterAFailure() throws Exception {
    fault = "some";
    Result r = run(H200, 1, "--out", "found");
    assertEquals(1, r.code(), r.text());
    List<String> found = outcomes(r);
    assertEquals("failed tests exit code 1; tests: 12 successful, 7 failed", found.get(0));
    assertTrue(found.get(1).startsWith("ok suite-bf16 "), r.text());
    assertEquals("skipped torch python3 has no PyTorch with CUDA", found.get(5));
    assertEquals("ok timings-Attention a figure", found.get(7));
    assertEquals("hung timings-Gemm ended after its limit of 120 s", found.get(8));
    assertEquals("ok timings-Norm a figure", found.get(9));
    assertTrue(found.getLast().startsWith("ok train"), r.text());
    String summary = Files.readString(folder.resolve("found/summary.txt"));
    assertEquals(r.text(), summary);
    assertTrue(summary.startsWith(H200), summary);
    assertTrue(summary.contains("no machine code in the bundle"), summary);
    String said = Files.readString(folder.resolve("found/tests.txt"));
    assertTrue(said.contains("7 tests failed"), said);
    said = Files.readString(folder.resolve("found/suite-f32-graph.txt"));
    assertTrue(said.endsWith("--dtype f32 --graph --warm-up 1 --seconds 0.2 \n"), said);
    said = Files.readString(folder.resolve("found/timings-Gemm.txt"));
    assertTrue(said.contains(" io.sfumato.cuda.launch.GemmTimings 20\n"), said);
    assertTrue(Files.readString(folder.resolve("found/device.txt")).startsWith(H200));
  }

  @Test
  void otherDevicesHaveNoHopperKernelsAndTimeIsNotExceeded() throws Exception {
    Files.createDirectory(bin.resolveSibling("cuda"));
    Result r = run(A100, 13, "--minutes", "2", "--out", "found");
    assertEquals(0, r.code(), r.text());
    List<String> found = outcomes(r);
    assertEquals("ok tests tests: 12 successful", found.get(0));
    assertTrue(found.contains("skipped timings they need compute capability 9.0"), r.text());
    assertTrue(found.getLast().equals("not started train no time left"), r.text());
    List<String> limits = Files.readAllLines(folder.resolve("limits"));
    assertEquals("107 gpu-tests", limits.get(1), limits + ""); // of 300, with 120 - 13 left
    assertTrue(limits.get(2).startsWith("81 gpu-suite"), limits + "");
  }

  @Test
  void withoutAGpuOrWithAWrongOptionOneLineSaysWhy() throws Exception {
    assertEquals(
        new Result(2, "gpu-session: no test, because none\n"), run("", 1, "--out", "found"));
    assertTrue(Files.notExists(folder.resolve("found")));
    assertEquals(
        new Result(2, "gpu-session: --minutes is a whole number from 1 on, not \"0.5\"\n"),
        run(H200, 1, "--minutes", "0.5"));
    assertEquals(
        new Result(2, "gpu-session: there is no option --fast; there are --minutes and --out\n"),
        run(H200, 1, "--fast"));
    assertEquals(new Result(2, "gpu-session: --out needs a value\n"), run(H200, 1, "--out"));
    assertEquals(
        new Result(2, "gpu-session: bundle exists; name a new folder by --out\n"),
        run(H200, 1, "--out", "bundle"));
  }
}
