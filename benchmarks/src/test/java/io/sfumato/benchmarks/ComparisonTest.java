// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.sfumato.benchmarks.Comparison.Side;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

final class ComparisonTest {
  private static final double EXACT = 1e-12;

  @Test
  void ratiosAreOfTheLeastAndTheMedianOfTheRounds() {
    Comparison c = new Comparison(Measured.Quantity.TIME, "Peer");
    for (double ours : new double[] {4, 2, 3}) {
      c.add(Side.OURS, List.of(new Measured("a", 1, ours)));
    }
    for (double theirs : new double[] {12, 5, 21}) {
      c.add(Side.THEIRS, List.of(new Measured("a", 1, theirs)));
    }
    Comparison.Ratio ratio = c.ratios(1).get("a");
    assertEquals(2.5, ratio.least(), EXACT);
    assertEquals(3, ratio.median(), EXACT);
    assertEquals(Map.of(), c.ratios(2));
  }

  @Test
  void tableHasAColumnGroupPerThreadCountAndGeometricMeans() {
    Comparison c = new Comparison(Measured.Quantity.TIME, "Peer");
    c.add(Side.OURS, List.of(new Measured("a", 1, 1), new Measured("b", 1, 2)));
    c.add(Side.THEIRS, List.of(new Measured("a", 1, 2), new Measured("b", 1, 16)));
    c.add(Side.OURS, List.of(new Measured("a", 2, 0.5)));
    c.add(Side.THEIRS, List.of(new Measured("a", 2, 0.5), new Measured("b", 2, 8)));
    assertEquals(
        """
        | case           | Sfumato, 1 thread, ms |        Peer, ms |       ratio \
        | Sfumato, 2 threads, ms |      Peer, ms |       ratio |
        |----------------|----------------------:|----------------:|------------:\
        |-----------------------:|--------------:|------------:|
        | a              |         1.000 / 1.000 |   2.000 / 2.000 | 2.00 / 2.00 \
        |          0.500 / 0.500 | 0.500 / 0.500 | 1.00 / 1.00 |
        | b              |         2.000 / 2.000 | 16.000 / 16.000 | 8.00 / 8.00 \
        |                      – | 8.000 / 8.000 |           – |
        | geometric mean |                       |                 | 4.00 / 4.00 \
        |                        |               | 1.00 / 1.00 |
        """,
        c.table());
  }

  @Test
  void aCaseThatNeedsNoMemoryOfOursHasNoRatio() {
    Comparison c = new Comparison(Measured.Quantity.MEMORY, "Peer");
    c.add(Side.OURS, List.of(new Measured("a", 1, 0), new Measured("b", 1, 8)));
    c.add(Side.THEIRS, List.of(new Measured("a", 1, 3), new Measured("b", 1, 4)));
    assertEquals(Set.of("b"), c.ratios(1).keySet());
    assertEquals(0.5, c.ratios(1).get("b").median(), EXACT);
  }

  @Test
  void statisticsAreThoseOfTheBook() {
    assertEquals(2.5, Samples.median(List.of(4.0, 1.0, 2.0, 3.0)), EXACT);
    assertEquals(3, Samples.median(List.of(9.0, 1.0, 3.0)), EXACT);
    assertEquals(4, Samples.geometricMean(List.of(2.0, 8.0, 4.0)), EXACT);
    assertEquals(1, Samples.least(List.of(9.0, 1.0)), EXACT);
    assertEquals(9, Samples.greatest(List.of(9.0, 1.0)), EXACT);
    assertThrows(IllegalArgumentException.class, () -> Samples.median(List.of()));
  }

  @Test
  void linesAreReadAndOthersPassedOver() {
    List<String> lines =
        List.of(
            "a warning",
            "{\"name\": \"x\", \"threads\": 2, \"median_ms\": 1.5, \"best_ms\": 1, \"runs\": 7,"
                + " \"rss_mb\": 12.5}");
    assertEquals(List.of(new Measured("x", 2, 1.5)), Measured.parse(lines, Measured.Quantity.TIME));
    assertEquals(
        List.of(new Measured("x", 2, 12.5)), Measured.parse(lines, Measured.Quantity.MEMORY));
    assertThrows(
        Programs.Refusal.class,
        () -> Measured.parse(List.of("{\"name\": \"x\"}"), Measured.Quantity.TIME));
    assertThrows(
        Programs.Refusal.class, () -> Measured.parse(List.of("{oops"), Measured.Quantity.TIME));
  }

  @Test
  void aSlowJvmIsUnstable() {
    Map<String, List<Double>> times = new TreeMap<>();
    times.put("calm", List.of(1.0, 2.0, 1.0));
    times.put("disturbed", List.of(1.0, 3.0, 1.0));
    times.put("trapped", List.of(1.0, 1.0, 1.0, 2.1));
    Map<String, List<Double>> best =
        Map.of(
            "calm", List.of(0.9, 1.0, 0.9),
            "disturbed", List.of(0.8, 0.9, 1.0),
            "trapped", List.of(0.9, 0.9, 0.9, 1.9));
    List<Stability.Row> rows =
        Stability.rows(
            times, best, Map.of("trapped", List.of(0.0, 40.5)), new double[] {1, 1, 1, 1});
    assertEquals(
        """
        | case      | median, ms | worst | ratio | in run | fastest, ms | worst | ratio | in run | garbage, MiB/run |                           |
        |-----------|-----------:|------:|------:|-------:|------------:|------:|------:|-------:|-----------------:|--------------------------:|
        | calm      |      1.000 | 2.000 |  2.00 |      2 |       0.900 | 1.000 |  1.11 |      2 |             0.00 |                           |
        | disturbed |      1.000 | 3.000 |  3.00 |      2 |       0.900 | 1.000 |  1.11 |      3 |             0.00 |   UNSTABLE: slow at times |
        | trapped   |      1.000 | 2.100 |  2.10 |      4 |       0.900 | 1.900 |  2.11 |      4 |            40.50 | UNSTABLE: no run was fast |
        """,
        Stability.table(rows));
    assertEquals(List.of(true, false, false), rows.stream().map(Stability.Row::isStable).toList());
  }

  @Test
  void aSlowMachineIsToldFromASlowCase() {
    Map<String, List<Double>> times = new TreeMap<>();
    for (int i = 0; i < 8; i++) {
      times.put("case" + i, List.of(1.0, 3.0, 1.0, 0.9));
    }
    times.put("trapped", List.of(1.0, 3.0, 2.5, 1.0));
    double[] paces = Stability.paces(times);
    assertArrayEquals(new double[] {1, 3, 1, 1}, paces, 1e-12);
    List<Stability.Row> rows = Stability.rows(times, Map.of(), Map.of(), paces);
    List<String> unstable =
        rows.stream().filter(row -> !row.isStable()).map(Stability.Row::name).toList();
    assertEquals(List.of("trapped"), unstable);
    assertEquals(
        "run 2 took 3.00 times as long as the median run in half of the cases or more: its times"
            + " are divided by that\n",
        Stability.slowRuns(paces).replace(System.lineSeparator(), "\n"));
    times.keySet().removeIf(name -> name.compareTo("case2") < 0);
    assertArrayEquals(new double[] {1, 1, 1, 1}, Stability.paces(times), 0);
  }

  @Test
  void skippedCompilationsAreListedOnceWithoutTimes() {
    assertEquals(
        List.of("% 3 a.B::tile @ 5 (99 bytes) COMPILE SKIPPED: out of virtual registers"),
        Stability.skippedIn(
            List.of(
                "  812  77 % 3 a.B::tile @ 5 (99 bytes) COMPILE SKIPPED: out of virtual registers",
                "  912  78 % 3 a.B::tile @ 5 (99 bytes) COMPILE SKIPPED: out of virtual registers",
                "  913  79 3 a.B::other (9 bytes)")));
  }
}
