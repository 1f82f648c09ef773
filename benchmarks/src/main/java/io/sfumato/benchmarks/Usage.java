// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.tensor.cpu.CpuBackend;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * What this process holds at one moment.
 *
 * @param tensors bytes of living tensors
 * @param reserved bytes that the pool of tensors has from the system
 * @param heap bytes on the Java heap that are in use after a garbage collection
 * @param resident the resident set, in mebibytes
 * @param threads platform threads
 * @param files open file handles
 */
record Usage(long tensors, long reserved, long heap, double resident, int threads, int files) {
  private static final Path FILES = Path.of("/proc/self/fd");

  /** Collects garbage and looks. */
  static Usage now() {
    System.gc();
    var stats = CpuBackend.instance().memory();
    return new Usage(
        stats.live(),
        stats.reserved(),
        ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed(),
        ResidentSet.now(),
        ManagementFactory.getThreadMXBean().getThreadCount(),
        openFiles());
  }

  private static int openFiles() {
    try (Stream<Path> all = Files.list(FILES)) {
      return (int) all.count() - 1; // the handle of the listing itself
    } catch (IOException e) {
      throw new Programs.Refusal("the soak needs Linux: " + FILES + " cannot be read");
    }
  }
}
