// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What memory the system can still give to this process, where Linux tells it. */
final class AvailableMemory {
  private AvailableMemory() {}

  /**
   * Bytes that can be had without swapping: {@code MemAvailable}, or what the process's group
   * (cgroup v2) has left if that is less.
   *
   * @return -1 if nothing tells
   */
  static long bytes() {
    long machine = number(Path.of("/proc/meminfo"), "MemAvailable:");
    long limit = number(Path.of("/sys/fs/cgroup/memory.max"), "");
    long used = number(Path.of("/sys/fs/cgroup/memory.current"), "");
    long cached = number(Path.of("/sys/fs/cgroup/memory.stat"), "inactive_file ");
    long left = limit < 0 || used < 0 ? -1 : limit - used + Math.max(0, cached);
    if (machine < 0) {
      return left;
    }
    return left < 0 ? machine : Math.min(machine, left);
  }

  /** The number after a name at the start of a line, in bytes; -1 if there is none. */
  private static long number(Path file, String name) {
    try {
      for (String line : Files.readAllLines(file)) {
        if (line.startsWith(name)) {
          String[] words = line.substring(name.length()).strip().split("\\s+");
          long value = Long.parseLong(words[0]);
          return words.length > 1 && words[1].equals("kB") ? value << 10 : value;
        }
      }
    } catch (IOException | NumberFormatException e) {
      return -1; // no such file on this system, or "max": no limit
    }
    return -1;
  }
}
