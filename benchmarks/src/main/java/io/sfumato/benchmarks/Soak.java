// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.models.train.Interrupts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Whether the library can run for a long time: trains, fine-tunes, draws and checkpoints round
 * after round, looks after each at what the process holds, and fails if anything is more in the
 * last third of the run than in the second. Of tensors, threads and file handles the greatest value
 * counts; of the Java heap and the resident set, which rise and fall with the garbage collector,
 * the median, and it may rise by {@value #SLACK_MIB} MiB.
 */
@Command(
    name = "soak",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description =
        "Trains, fine-tunes and draws for a long time; fails if memory, threads or handles grow.")
public final class Soak implements Callable<Integer> {
  private static final double MIB = 1 << 20;
  private static final double SLACK_MIB = 8;

  @Option(names = "--minutes", description = "How long.", defaultValue = "60")
  private double minutes;

  @Option(
      names = "--out",
      description = "Folder for the runs and usage.csv.",
      defaultValue = "out/soak")
  private Path out = Path.of("out/soak");

  private Soak() {}

  /**
   * One kind of use over the run.
   *
   * @param name what it is
   * @param of its value
   * @param judged what of a third's values counts
   * @param slack by how much it may grow
   */
  private record Kind(
      String name,
      ToDoubleFunction<Usage> of,
      ToDoubleFunction<List<Double>> judged,
      double slack) {
    /** What counts of one third of the run. */
    double in(List<Usage> usage, int third) {
      int n = usage.size();
      List<Usage> part = usage.subList(n * third / 3, n * (third + 1) / 3);
      return judged.applyAsDouble(part.stream().map(of::applyAsDouble).toList());
    }
  }

  private static final List<Kind> KINDS =
      List.of(
          new Kind("tensors bytes", Usage::tensors, Samples::greatest, 0),
          new Kind("pool MiB", u -> u.reserved() / MIB, Samples::greatest, 0),
          new Kind("heap MiB", u -> u.heap() / MIB, Samples::median, SLACK_MIB),
          new Kind("resident MiB", Usage::resident, Samples::median, SLACK_MIB),
          new Kind("threads", Usage::threads, Samples::greatest, 0),
          new Kind("files", Usage::files, Samples::greatest, 0));

  /** Runs the soak. */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  static int run(String... args) {
    return Programs.run(new Soak(), args);
  }

  @Override
  public Integer call() throws IOException {
    if (!(minutes > 0)) {
      throw new Programs.Refusal("--minutes must be positive; got " + minutes);
    }
    Files.createDirectories(out);
    Path csv = out.resolve("usage.csv");
    Files.writeString(csv, "round,seconds," + header() + "\n");
    List<Usage> usage = new ArrayList<>();
    long start = System.nanoTime();
    try (Interrupts interrupts = Interrupts.catchSignals()) {
      SoakRound round = new SoakRound(out.resolve("run"), interrupts);
      double seconds = 0;
      while (seconds < 60 * minutes && !interrupts.requested()) {
        round.run(usage.size());
        usage.add(Usage.now());
        seconds = (System.nanoTime() - start) * 1e-9;
        Files.writeString(csv, line(usage, seconds), StandardOpenOption.APPEND);
      }
    }
    System.out.print(table(usage));
    List<String> growth = growth(usage);
    growth.forEach(System.out::println);
    return growth.isEmpty() ? 0 : 1;
  }

  private static String header() {
    return String.join(",", KINDS.stream().map(k -> k.name().replace(' ', '_')).toList());
  }

  private static String line(List<Usage> usage, double seconds) {
    StringBuilder line = new StringBuilder();
    line.append(usage.size()).append(String.format(Locale.ROOT, ",%.1f", seconds));
    for (Kind kind : KINDS) {
      line.append(String.format(Locale.ROOT, ",%.3f", kind.of.applyAsDouble(usage.getLast())));
    }
    return line.append('\n').toString();
  }

  /** What grew, in words. */
  static List<String> growth(List<Usage> usage) {
    if (usage.size() < 3) {
      return List.of("only " + usage.size() + " rounds were done: too few to judge");
    }
    List<String> growth = new ArrayList<>();
    for (Kind kind : KINDS) {
      double middle = kind.in(usage, 1);
      double end = kind.in(usage, 2);
      if (end > middle + kind.slack) {
        growth.add(
            String.format(Locale.ROOT, "%s grew from %.2f to %.2f", kind.name(), middle, end));
      }
    }
    return growth;
  }

  private static String table(List<Usage> usage) {
    TextTable table = new TextTable(1, List.of("", "first third", "second third", "last third"));
    for (Kind kind : KINDS) {
      List<String> row = new ArrayList<>(List.of(kind.name()));
      for (int third = 0; third < 3; third++) {
        row.add(usage.size() < 3 ? "-" : String.format(Locale.ROOT, "%.2f", kind.in(usage, third)));
      }
      table.add(row);
    }
    return usage.size() + " rounds\n" + table;
  }
}
