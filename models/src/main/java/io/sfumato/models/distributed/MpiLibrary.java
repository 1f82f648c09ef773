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
import org.jspecify.annotations.Nullable;

/**
 * Open MPI's library, never unloaded. Its handles (communicators, types) are addresses of variables
 * that it exports, {@code ompi_mpi_comm_world} and so on; other MPIs have numbers for them, so a
 * library without these variables is refused.
 */
final class MpiLibrary {
  /** A system property with the path of the library. */
  static final String PROPERTY = "sfumato.mpi.library";

  private static final List<String> NAMES = List.of("libmpi.so.40", "libmpi.so.80", "libmpi.so");
  private static final String REMEDY =
      "; install Open MPI (Debian, Ubuntu: apt-get install openmpi-bin), or name its library with"
          + " -D"
          + PROPERTY
          + "=/…/libmpi.so.40";

  private final String name;
  private final SymbolLookup symbols;

  private MpiLibrary(String name, SymbolLookup symbols) {
    this.name = name;
    this.symbols = symbols;
  }

  /**
   * Loads it.
   *
   * @throws CollectiveException in one line, with the remedy, if there is none or it is another MPI
   */
  static MpiLibrary open() {
    String wanted = System.getProperty(PROPERTY);
    List<String> candidates = wanted == null ? besides(NAMES) : List.of(wanted);
    for (String candidate : candidates) {
      SymbolLookup symbols = load(candidate);
      if (symbols != null) {
        MpiLibrary library = new MpiLibrary(candidate, symbols);
        if (symbols.find("ompi_mpi_comm_world").isEmpty()) {
          throw new CollectiveException(
              "MPI: "
                  + candidate
                  + (symbols.find("MPI_Init_thread").isPresent()
                      ? " is not Open MPI but another MPI (MPICH, Intel MPI), whose handles differ"
                      : " is no MPI library")
                  + REMEDY);
        }
        return library;
      }
    }
    throw new CollectiveException(
        "MPI: the library was not found (tried " + String.join(", ", candidates) + ")" + REMEDY);
  }

  /** The names, and their files beside the mpirun that started this process. */
  private static List<String> besides(List<String> names) {
    List<String> candidates = new ArrayList<>(names);
    String prefix = System.getenv("OPAL_PREFIX");
    if (prefix != null) {
      for (String file : names) {
        Path path = Path.of(prefix, "lib", file);
        if (Files.exists(path)) {
          candidates.addFirst(path.toString());
        }
      }
    }
    return candidates;
  }

  private static @Nullable SymbolLookup load(String name) {
    try {
      return SymbolLookup.libraryLookup(name, Arena.global());
    } catch (IllegalArgumentException e) {
      return null;
    }
  }

  /** What was loaded. */
  String name() {
    return name;
  }

  /** The address of a variable, which is a handle. */
  MemorySegment handle(String variable) {
    return symbol(variable);
  }

  /** A function that returns an int, the status. */
  MethodHandle function(String function, MemoryLayout... arguments) {
    return Linker.nativeLinker()
        .downcallHandle(symbol(function), FunctionDescriptor.of(ValueLayout.JAVA_INT, arguments));
  }

  private MemorySegment symbol(String symbol) {
    return symbols
        .find(symbol)
        .orElseThrow(() -> new CollectiveException("MPI: " + name + " lacks " + symbol + REMEDY));
  }
}
