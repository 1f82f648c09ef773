// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SoakTest {
  private static final long MIB = 1 << 20;

  @Test
  void constantUseIsNoGrowth() {
    assertEquals(List.of(), growth(i -> new Usage(0, 60 * MIB, 17 * MIB, 300 + i % 7, 11, 55)));
  }

  @Test
  void whateverGrowsIsNamed() {
    assertEquals(
        List.of("tensors bytes grew from 19.00 to 29.00"),
        growth(i -> new Usage(i, 0, 0, 0, 1, 1)));
    assertEquals(
        List.of("threads grew from 20.00 to 30.00"), growth(i -> new Usage(0, 0, 0, 0, i + 1, 1)));
    assertEquals(
        List.of("files grew from 20.00 to 30.00"), growth(i -> new Usage(0, 0, 0, 0, 1, i + 1)));
    assertEquals(
        List.of("heap MiB grew from 14.50 to 24.50"),
        growth(i -> new Usage(0, 0, i * MIB, 0, 1, 1)));
    assertEquals(
        List.of("resident MiB grew from 14.50 to 24.50"), growth(i -> new Usage(0, 0, 0, i, 1, 1)));
  }

  @Test
  void tooFewRoundsAreNotJudged() {
    assertEquals(
        List.of("only 2 rounds were done: too few to judge"),
        Soak.growth(List.of(new Usage(0, 0, 0, 0, 1, 1), new Usage(0, 0, 0, 0, 1, 1))));
  }

  @Test
  void aShortSoakRunsAndLeavesItsTable(@TempDir Path folder) throws Exception {
    int code = Soak.run("--minutes", "0.001", "--out", folder.toString());
    assertEquals(1, code); // one round is too few to judge
    assertEquals(2, Files.readAllLines(folder.resolve("usage.csv")).size());
    assertTrue(Files.isRegularFile(folder.resolve("run/checkpoint/training/manifest.json")));
    assertTrue(Files.isRegularFile(folder.resolve("run/adapter/checkpoint/adapter_config.json")));
  }

  @Test
  void refusesATimeOfNothing() {
    assertEquals(Programs.REFUSED, Soak.run("--minutes", "0"));
  }

  private static List<String> growth(IntFunction<Usage> usage) {
    return Soak.growth(IntStream.range(0, 30).mapToObj(usage).toList());
  }
}
