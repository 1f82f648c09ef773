// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.sfumato.cuda.driver.DriverLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Asks the driver of this machine: loads its library (it comes with the driver, no toolkit is
 * needed), initialises it and counts devices. No context is made, so no device memory is taken.
 */
final class DriverProbe implements Probe {
  private final String library;

  DriverProbe() {
    this(DriverLibrary.name());
  }

  /** Asks a library of this name. */
  DriverProbe(String library) {
    this.library = library;
  }

  @Override
  public Driver driver() {
    SymbolLookup symbols;
    try {
      symbols = SymbolLookup.libraryLookup(library, Arena.global()); // never unloaded
    } catch (IllegalArgumentException e) {
      return new NoLibrary(library, String.valueOf(e.getMessage()));
    } catch (IllegalCallerException e) {
      return new Forbidden(moduleName(), String.valueOf(e.getMessage()));
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment number = arena.allocate(JAVA_INT);
      Optional<MethodHandle> init = function(symbols, "cuInit", JAVA_INT);
      Optional<MethodHandle> version = function(symbols, "cuDriverGetVersion", ADDRESS);
      Optional<MethodHandle> count = function(symbols, "cuDeviceGetCount", ADDRESS);
      if (init.isEmpty() || version.isEmpty() || count.isEmpty()) {
        return new NoLibrary(library, "it is not NVIDIA's: cuInit and its like are missing");
      }
      int code = (int) init.get().invokeExact(0);
      if (code != 0) {
        return new Failed("cuInit", code);
      }
      code = (int) version.get().invokeExact(number);
      if (code != 0) {
        return new Failed("cuDriverGetVersion", code);
      }
      int cuda = number.get(JAVA_INT, 0); // 1000 major + 10 minor
      code = (int) count.get().invokeExact(number);
      if (code != 0) {
        return new Failed("cuDeviceGetCount", code);
      }
      int devices = number.get(JAVA_INT, 0);
      int capability = devices == 0 ? 0 : capability(symbols, number);
      return new Present(cuda / 1000 + "." + cuda % 1000 / 10, devices, capability);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e); // native functions throw no checked exceptions
    }
  }

  /** Compute capability of the first device times ten; 0 if the driver does not tell. */
  private static int capability(SymbolLookup symbols, MemorySegment number) throws Throwable {
    Optional<MethodHandle> attribute =
        function(symbols, "cuDeviceGetAttribute", ADDRESS, JAVA_INT, JAVA_INT);
    int capability = 0;
    for (int part : new int[] {75, 76}) { // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
      if (attribute.isEmpty() || (int) attribute.get().invokeExact(number, part, 0) != 0) {
        return 0;
      }
      capability = 10 * capability + number.get(JAVA_INT, 0);
    }
    return capability;
  }

  private static Optional<MethodHandle> function(
      SymbolLookup symbols, String name, MemoryLayout... arguments) {
    FunctionDescriptor type = FunctionDescriptor.of(JAVA_INT, arguments);
    return symbols.find(name).map(address -> Linker.nativeLinker().downcallHandle(address, type));
  }

  private static String moduleName() {
    String name = DriverProbe.class.getModule().getName();
    return name == null ? "ALL-UNNAMED" : name;
  }

  @Override
  public boolean hasKernelDriver() {
    return List.of("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/nvidia0").stream()
        .anyMatch(path -> Files.exists(Path.of(path)));
  }
}
