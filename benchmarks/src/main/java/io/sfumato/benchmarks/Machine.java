// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What figures were measured on. */
public final class Machine {
  private static final Path CPU = Path.of("/proc/cpuinfo");

  private Machine() {}

  /** Processor, number of cores, system and JDK, in one line. */
  public static String describe() {
    return processor()
        + ", "
        + Runtime.getRuntime().availableProcessors()
        + " cores, "
        + System.getProperty("os.name")
        + " "
        + System.getProperty("os.version")
        + ", JDK "
        + Runtime.version()
        + " ("
        + System.getProperty("java.vendor")
        + ")";
  }

  /** The name of the processor, or of its architecture where the system does not tell. */
  private static String processor() {
    if (Files.isReadable(CPU)) {
      try {
        for (String line : Files.readAllLines(CPU)) {
          if (line.startsWith("model name")) {
            return line.substring(line.indexOf(':') + 1).strip();
          }
        }
      } catch (IOException e) {
        return System.getProperty("os.arch");
      }
    }
    return System.getProperty("os.arch");
  }
}
