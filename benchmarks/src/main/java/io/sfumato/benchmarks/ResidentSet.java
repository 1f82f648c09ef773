// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The peak of this process' resident set beyond what it had when this object was made: the growth
 * from VmRSS to the VmHWM of {@code /proc/self/status}.
 */
final class ResidentSet {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final Path CLEAR = Path.of("/proc/self/clear_refs");
  private static final String RESET_PEAK = "5"; // Linux, proc_pid_clear_refs(5)

  private final double baseline;

  /** Takes the baseline, and forgets the peak so far where the system lets it. */
  ResidentSet() {
    try {
      Files.writeString(CLEAR, RESET_PEAK);
    } catch (IOException e) {
      // then a peak of the start of the JVM counts, if the case stays below it
    }
    baseline = megabytes(status(), "VmRSS");
  }

  /** Mebibytes by which the peak is above the baseline. */
  double peak() {
    return Math.max(0, megabytes(status(), "VmHWM") - baseline);
  }

  /** Mebibytes that are resident. */
  static double now() {
    return megabytes(status(), "VmRSS");
  }

  private static String status() {
    try {
      return Files.readString(STATUS);
    } catch (IOException e) {
      throw new Programs.Refusal("memory is measured on Linux only: " + STATUS + " cannot be read");
    }
  }

  /** The value of a line such as {@code VmRSS: 1024 kB}, in mebibytes. */
  static double megabytes(String status, String key) {
    Matcher m = Pattern.compile("^" + key + ":\\s+(\\d+) kB$", Pattern.MULTILINE).matcher(status);
    if (!m.find()) {
      throw new Programs.Refusal(
          "memory is measured on Linux only: there is no " + key + " in " + STATUS);
    }
    return Long.parseLong(m.group(1)) / 1024.0;
  }
}
