// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A loaded library, which is never unloaded. */
public final class NativeLibrary {
  private final String file;
  private final String path;
  private final SymbolLookup symbols;

  private NativeLibrary(String file, String path, SymbolLookup symbols) {
    this.file = file;
    this.path = path;
    this.symbols = symbols;
  }

  /**
   * Loads the first of some files that can be found and loaded.
   *
   * @param search where to look
   * @param files names such as {@code libcublas.so.13}, the preferred first
   * @throws MissingLibraryException if none can be loaded; it tells what was tried
   */
  public static NativeLibrary open(LibrarySearch search, List<String> files)
      throws MissingLibraryException {
    List<String> failures = new ArrayList<>();
    for (String file : files) {
      for (String candidate : search.candidates(file)) {
        try {
          return new NativeLibrary(
              file, candidate, SymbolLookup.libraryLookup(candidate, Arena.global()));
        } catch (IllegalArgumentException e) {
          failures.add(candidate);
        }
      }
    }
    throw new MissingLibraryException(
        String.join(" or ", files)
            + " was not found (tried "
            + String.join(", ", failures)
            + "; -D"
            + LibrarySearch.PROPERTY
            + "=… names more folders)");
  }

  /** The name it was asked for by. */
  public String file() {
    return file;
  }

  /** What the loader was given: a path, or the name. */
  public String path() {
    return path;
  }

  /**
   * A function that returns an int, the status.
   *
   * @throws MissingLibraryException if the library lacks it
   */
  public MethodHandle function(String name, MemoryLayout... arguments)
      throws MissingLibraryException {
    FunctionDescriptor type = FunctionDescriptor.of(ValueLayout.JAVA_INT, arguments);
    return Linker.nativeLinker().downcallHandle(symbol(name), type);
  }

  /**
   * Throws unless the library has these functions: a call of one that it lacks would end the
   * process.
   */
  public void require(String... names) throws MissingLibraryException {
    for (String name : names) {
      symbol(name);
    }
  }

  private MemorySegment symbol(String name) throws MissingLibraryException {
    Optional<MemorySegment> address = symbols.find(name);
    if (address.isEmpty()) {
      throw new MissingLibraryException(path + " lacks " + name);
    }
    return address.get();
  }
}
