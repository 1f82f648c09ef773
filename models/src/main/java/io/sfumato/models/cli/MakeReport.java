// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.report.Report;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Writes the report of a run, or of several beside each other, from what lies in their folders. */
@Command(
    name = "report",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Writes an HTML page about a training run: curves, samples, memory, time per module,"
            + " checkpoints, configuration. Of several runs, a page that compares them. The page is"
            + " one file without scripts, and needs no network.")
public final class MakeReport implements Callable<Integer> {
  @Parameters(arity = "1..*", paramLabel = "FOLDER", description = "Folders of training runs.")
  private List<Path> folders = List.of();

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description =
          "Where to; report.html in the run's folder if absent, comparison.html here for several"
              + " runs.")
  private @Nullable Path out;

  private MakeReport() {}

  /**
   * Runs the program and exits: 0 when done, 2 if a folder holds no run.
   *
   * @param args command-line options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(Program.run(new MakeReport(), args));
  }

  @Override
  public Integer call() {
    Path file =
        out != null
            ? out
            : folders.size() == 1
                ? folders.getFirst().resolve("report.html")
                : Path.of("comparison.html");
    Report.write(folders, file);
    say("wrote %s", file);
    return 0;
  }
}
