// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** NVIDIA's library of collectives, never unloaded. */
final class NcclLibrary {
  /** A system property with the path of the library. */
  static final String PROPERTY = "sfumato.nccl.library";

  /** 2.10, the first with bfloat16 and means. */
  private static final int OLDEST = 21000;

  private static final List<String> NAMES = List.of("libnccl.so.2", "libnccl.so");
  private static final String REMEDY =
      "; install NCCL (from NVIDIA's package repository: apt-get install libnccl2), name its"
          + " library with -D"
          + PROPERTY
          + "=/…/libnccl.so.2, or let gradients go through MPI: --communication mpi";

  private final String name;
  private final SymbolLookup symbols;
  private final int version;

  private NcclLibrary(String name, SymbolLookup symbols) {
    this.name = name;
    this.symbols = symbols;
    this.version = readVersion();
  }

  /**
   * Loads it.
   *
   * @throws CollectiveException in one line, with the remedy, if there is none, or one too old
   */
  static NcclLibrary open() {
    String wanted = System.getProperty(PROPERTY);
    List<String> candidates = wanted == null ? candidates() : List.of(wanted);
    for (String candidate : candidates) {
      SymbolLookup symbols;
      try {
        symbols = SymbolLookup.libraryLookup(candidate, Arena.global());
      } catch (IllegalArgumentException e) {
        continue; // not there, or no library
      }
      NcclLibrary library = new NcclLibrary(candidate, symbols);
      if (library.version < OLDEST) {
        throw new CollectiveException(
            "NCCL: "
                + candidate
                + " is "
                + library.versionText()
                + ", and 2.10 is needed"
                + REMEDY);
      }
      return library;
    }
    throw new CollectiveException(
        "NCCL: the library was not found (tried " + String.join(", ", candidates) + ")" + REMEDY);
  }

  /** The folders that NCCL's own scripts and builds name, then the loader's search. */
  private static List<String> candidates() {
    List<String> candidates = new ArrayList<>();
    for (String variable : List.of("NCCL_HOME", "NCCL_ROOT")) {
      String home = System.getenv(variable);
      if (home != null) {
        for (String file : NAMES) {
          Path path = Path.of(home, "lib", file);
          if (Files.exists(path)) {
            candidates.add(path.toString());
          }
        }
      }
    }
    candidates.addAll(NAMES);
    return candidates;
  }

  private int readVersion() {
    MethodHandle ask = function("ncclGetVersion", ValueLayout.ADDRESS);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment number = arena.allocate(ValueLayout.JAVA_INT);
      int status = NativeCall.result("ncclGetVersion", () -> (int) ask.invokeExact(number));
      if (status != 0) {
        throw new CollectiveException("NCCL: ncclGetVersion of " + name + ": error " + status);
      }
      return number.get(ValueLayout.JAVA_INT, 0);
    }
  }

  /** {@code NCCL 2.18.5}. */
  String versionText() {
    int unit = version < 10000 ? 1000 : 10000; // 2.8 and before: 2804
    return "NCCL " + version / unit + "." + version % unit / 100 + "." + version % 100;
  }

  /** A function that returns an int, the status. */
  MethodHandle function(String function, MemoryLayout... arguments) {
    return Linker.nativeLinker()
        .downcallHandle(symbol(function), FunctionDescriptor.of(ValueLayout.JAVA_INT, arguments));
  }

  /** A function that returns a text. */
  MethodHandle text(String function, MemoryLayout... arguments) {
    return Linker.nativeLinker()
        .downcallHandle(
            symbol(function),
            FunctionDescriptor.of(
                ValueLayout.ADDRESS.withTargetLayout(
                    MemoryLayout.sequenceLayout(Integer.MAX_VALUE, ValueLayout.JAVA_BYTE)),
                arguments));
  }

  /** Whether it has a function that came with a later version. */
  boolean has(String function) {
    return symbols.find(function).isPresent();
  }

  private MemorySegment symbol(String symbol) {
    return symbols
        .find(symbol)
        .orElseThrow(() -> new CollectiveException("NCCL: " + name + " lacks " + symbol + REMEDY));
  }
}
