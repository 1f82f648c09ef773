// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.StringJoiner;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs tests until the first failure: exit 3 when there was one, 0 when there was none. With the
 * system property {@value #RECORD} it writes to that file, for each test, a line of its unique
 * identifier, its milliseconds and the barriers that it reached.
 */
final class MutantRun {
  /** The exit status after a failure. */
  static final int CAUGHT = 3;

  /** The exit status when no test ran. */
  static final int NOTHING_RAN = 4;

  /** The property that names the file of the record. */
  static final String RECORD = "sfumato.mutants.record";

  /** The environment variable that names the file which {@code emu_races.h} explains. */
  static final String SITES = "SFUMATO_EMU_SITES";

  /** The size of that file: the barrier left out, 4 bytes; a byte for each that was reached. */
  static final int SITES_BYTES = 1 << 16;

  private MutantRun() {}

  /**
   * Runs tests.
   *
   * @param tests names of classes, or unique identifiers, which begin with a bracket; with one of
   *     them that begins with {@code @}, the lines of the file that it names
   */
  public static void main(String[] tests) throws IOException {
    LauncherDiscoveryRequestBuilder request = LauncherDiscoveryRequestBuilder.request();
    request.configurationParameter("junit.jupiter.extensions.autodetection.enabled", "true");
    for (String test : tests) {
      if (test.startsWith("@")) {
        for (String line : Files.readAllLines(Path.of(test.substring(1)))) {
          request.selectors(DiscoverySelectors.selectUniqueId(line));
        }
      } else {
        request.selectors(DiscoverySelectors.selectClass(test));
      }
    }
    Launcher launcher = LauncherFactory.create();
    String file = System.getProperty(RECORD);
    Reached record = file == null ? null : new Reached(Path.of(file));
    int[] passed = {0};
    launcher.execute(
        request.build(),
        new TestExecutionListener() {
          private long start;

          @Override
          public void executionStarted(TestIdentifier test) {
            start = System.nanoTime();
          }

          @Override
          public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            if (result.getStatus() == TestExecutionResult.Status.FAILED) {
              String why = EmulatorControl.message();
              System.out.println(
                  "caught by " + test.getDisplayName() + ": " + (why.isEmpty() ? result : why));
              Runtime.getRuntime().halt(CAUGHT);
            }
            passed[0] += test.isTest() ? 1 : 0;
            if (record != null && test.isTest()) {
              record.add(test.getUniqueId(), (System.nanoTime() - start) / 1_000_000);
            }
          }
        });
    System.out.println(passed[0] + " tests passed");
    Runtime.getRuntime().halt(passed[0] == 0 ? NOTHING_RAN : 0);
  }

  /** What each test reached. */
  private static final class Reached {
    private final Path file;
    private final MappedByteBuffer sites;

    Reached(Path file) throws IOException {
      this.file = Files.writeString(file, "");
      try (FileChannel f =
          FileChannel.open(
              Path.of(System.getenv(SITES)), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        sites = f.map(FileChannel.MapMode.READ_WRITE, 0, SITES_BYTES);
      }
    }

    void add(String test, long milliseconds) {
      StringJoiner reached = new StringJoiner(",");
      for (int i = Integer.BYTES; i < SITES_BYTES; i++) {
        if (sites.get(i) != 0) {
          reached.add(String.valueOf(i - Integer.BYTES));
          sites.put(i, (byte) 0);
        }
      }
      try {
        Files.writeString(
            file, test + "\t" + milliseconds + "\t" + reached + "\n", StandardOpenOption.APPEND);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
