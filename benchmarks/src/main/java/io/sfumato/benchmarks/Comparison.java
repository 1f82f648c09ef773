// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Values of two suites over several rounds, side by side. A ratio is theirs by ours, so more than 1
 * is to our favour: of the least values, and the median of the rounds' ratios. The two values of a
 * round were measured one after the other, so that is of two sides that had the same machine.
 */
final class Comparison {
  private static final String NONE = "–";

  /** Who measured. */
  enum Side {
    /** Sfumato. */
    OURS,
    /** The peer. */
    THEIRS
  }

  private record Key(String name, int threads, Side side) {}

  /**
   * The ratios of one case.
   *
   * @param least of the least values
   * @param median of the rounds' ratios
   */
  record Ratio(double least, double median) {}

  private final Measured.Quantity quantity;
  private final String peer;
  private final Map<Key, List<Double>> values = new LinkedHashMap<>();
  private final Set<String> names = new LinkedHashSet<>();
  private final Set<Integer> threads = new LinkedHashSet<>();

  /**
   * An empty comparison.
   *
   * @param quantity what is compared
   * @param peer the name of the other side
   */
  Comparison(Measured.Quantity quantity, String peer) {
    this.quantity = quantity;
    this.peer = peer;
  }

  /** Adds what a suite printed. */
  void read(Side side, List<String> lines) {
    add(side, Measured.parse(lines, quantity));
  }

  /** Adds what one side measured in one round. */
  void add(Side side, List<Measured> lines) {
    for (Measured line : lines) {
      names.add(line.name());
      threads.add(line.threads());
      values
          .computeIfAbsent(new Key(line.name(), line.threads(), side), k -> new ArrayList<>())
          .add(line.value());
    }
  }

  /** The ratios of the cases that both sides measured, in order. */
  Map<String, Ratio> ratios(int count) {
    Map<String, Ratio> ratios = new LinkedHashMap<>();
    for (String name : names) {
      List<Double> ours = values.getOrDefault(new Key(name, count, Side.OURS), List.of());
      List<Double> theirs = values.getOrDefault(new Key(name, count, Side.THEIRS), List.of());
      if (!ours.isEmpty() && !theirs.isEmpty() && Samples.least(ours) > 0) {
        ratios.put(
            name,
            new Ratio(
                Samples.least(theirs) / Samples.least(ours), Samples.median(ratios(ours, theirs))));
      }
    }
    return ratios;
  }

  private static List<Double> ratios(List<Double> ours, List<Double> theirs) {
    return IntStream.range(0, Math.min(ours.size(), theirs.size()))
        .mapToObj(i -> theirs.get(i) / ours.get(i))
        .toList();
  }

  /** The whole as one table, with the geometric means of the ratios at its end. */
  String table() {
    List<String> header = new ArrayList<>(List.of("case"));
    for (int count : threads) {
      String on = ", " + count + (count == 1 ? " thread" : " threads");
      header.add("Sfumato" + on + ", " + quantity.unit());
      header.add(peer + ", " + quantity.unit());
      header.add("ratio");
    }
    TextTable table = new TextTable(1, header);
    for (String name : names) {
      List<String> row = new ArrayList<>(List.of(name));
      for (int count : threads) {
        row.add(pair(values.get(new Key(name, count, Side.OURS))));
        row.add(pair(values.get(new Key(name, count, Side.THEIRS))));
        Ratio ratio = ratios(count).get(name);
        row.add(ratio == null ? NONE : pair(ratio.least, ratio.median, 2));
      }
      table.add(row);
    }
    List<String> means = new ArrayList<>(List.of("geometric mean"));
    for (int count : threads) {
      Map<String, Ratio> all = ratios(count);
      means.add("");
      means.add("");
      means.add(all.isEmpty() ? NONE : mean(all));
    }
    table.add(means);
    return table.toString();
  }

  private static String mean(Map<String, Ratio> ratios) {
    return pair(
        Samples.geometricMean(ratios.values().stream().map(Ratio::least).toList()),
        Samples.geometricMean(ratios.values().stream().map(Ratio::median).toList()),
        2);
  }

  private String pair(@Nullable List<Double> rounds) {
    return rounds == null
        ? NONE
        : pair(
            Samples.least(rounds),
            Samples.median(rounds),
            quantity == Measured.Quantity.TIME ? 3 : 1);
  }

  private static String pair(double least, double median, int digits) {
    String number = "%." + digits + "f";
    return String.format(Locale.ROOT, number + " / " + number, least, median);
  }
}
