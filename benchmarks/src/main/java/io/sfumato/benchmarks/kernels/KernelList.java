// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import org.openjdk.jmh.runner.BenchmarkList;
import org.openjdk.jmh.runner.BenchmarkListEntry;
import org.openjdk.jmh.runner.format.OutputFormat;
import org.openjdk.jmh.runner.format.OutputFormatFactory;
import org.openjdk.jmh.runner.options.VerboseMode;

/** The benchmarks on the class path that have a shape, peers among them if they are compiled. */
final class KernelList {
  private KernelList() {}

  /**
   * A benchmark method at a shape.
   *
   * @param type its class
   * @param method its name
   * @param shape the shape
   */
  record Case(Class<? extends KernelBenchmark> type, String method, KernelShape shape) {
    /** Kernel, method and shape, separated by dots. */
    String label() {
      return kernel() + "." + shape.name();
    }

    /** Kernel and method. */
    String kernel() {
      return type.getSimpleName().replaceFirst("Benchmark$", "") + "." + method;
    }

    /** What it has to do. */
    Work work() {
      try {
        KernelBenchmark benchmark = type.getDeclaredConstructor().newInstance();
        type.getField("shape").set(benchmark, shape);
        return benchmark.work(method);
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException(type + " is no benchmark of a kernel", e);
      }
    }
  }

  /** All cases, by kernel, in the order of the shapes. */
  static List<Case> cases() {
    TreeMap<String, List<Case>> cases = new TreeMap<>();
    OutputFormat none =
        OutputFormatFactory.createFormatInstance(
            new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8),
            VerboseMode.SILENT);
    Set<BenchmarkListEntry> entries = BenchmarkList.defaultList().getAll(none, List.of());
    for (BenchmarkListEntry entry : entries) {
      cases.put(entry.getUsername(), cases(entry));
    }
    return cases.values().stream().flatMap(List::stream).toList();
  }

  private static List<Case> cases(BenchmarkListEntry entry) {
    String method = entry.getUsername().substring(entry.getUsername().lastIndexOf('.') + 1);
    List<Case> cases = new ArrayList<>();
    try {
      Class<? extends KernelBenchmark> type =
          Class.forName(entry.getUserClassQName()).asSubclass(KernelBenchmark.class);
      for (Object shape : type.getField("shape").getType().getEnumConstants()) {
        cases.add(new Case(type, method, (KernelShape) shape));
      }
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(entry.getUsername() + " is no benchmark of a kernel", e);
    }
    return cases;
  }
}
