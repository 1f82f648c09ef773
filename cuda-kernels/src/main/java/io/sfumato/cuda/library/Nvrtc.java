// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.tensor.DeviceException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * NVIDIA's run-time compiler of CUDA C++ (NVRTC) by {@code java.lang.foreign}: from a text and its
 * headers, all in memory, to machine code for one kind of device. It needs neither driver nor
 * toolkit, and comes with PyTorch.
 */
public final class Nvrtc {
  private static final String BUILTINS = "libnvrtc-builtins.so";

  private final NativeLibrary library;
  private final int version;
  private final MethodHandle create;
  private final MethodHandle compile;
  private final MethodHandle logSize;
  private final MethodHandle log;
  private final MethodHandle imageSize;
  private final MethodHandle image;
  private final MethodHandle destroy;

  private Nvrtc(NativeLibrary library) throws MissingLibraryException {
    this.library = library;
    create =
        library.function(
            "nvrtcCreateProgram", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS);
    compile = library.function("nvrtcCompileProgram", JAVA_LONG, JAVA_INT, ADDRESS);
    logSize = library.function("nvrtcGetProgramLogSize", JAVA_LONG, ADDRESS);
    log = library.function("nvrtcGetProgramLog", JAVA_LONG, ADDRESS);
    imageSize = library.function("nvrtcGetCUBINSize", JAVA_LONG, ADDRESS);
    image = library.function("nvrtcGetCUBIN", JAVA_LONG, ADDRESS);
    destroy = library.function("nvrtcDestroyProgram", ADDRESS);
    MethodHandle ask = library.function("nvrtcVersion", ADDRESS, ADDRESS);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment numbers = arena.allocate(JAVA_INT, 2);
      check((int) ask.invokeExact(numbers, numbers.asSlice(4)), "nvrtcVersion");
      version = 1000 * numbers.get(JAVA_INT, 0) + 10 * numbers.get(JAVA_INT, 4);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  /**
   * Loads the compiler, after its part of built-in headers, which it does not find by itself.
   *
   * @param search where to look
   * @param cuda13 whether the driver is new enough for what the compiler of CUDA 13 makes
   * @throws MissingLibraryException if it is not there; it tells what was tried
   */
  public static Nvrtc open(LibrarySearch search, boolean cuda13) throws MissingLibraryException {
    List<String> files = Versions.files("libnvrtc.so", cuda13);
    for (String file : files) {
      for (String candidate : search.candidates(file)) {
        Path folder = Path.of(candidate).getParent();
        if (folder != null) {
          loadBuiltins(folder, file.substring(file.lastIndexOf('.') + 1));
        }
      }
    }
    return new Nvrtc(NativeLibrary.open(search, files));
  }

  private static void loadBuiltins(Path folder, String major) {
    String pattern = BUILTINS + "." + major + ".*";
    try (DirectoryStream<Path> found = Files.newDirectoryStream(folder, pattern)) {
      for (Path file : found) {
        SymbolLookup.libraryLookup(file, Arena.global());
      }
    } catch (IOException | IllegalArgumentException e) {
      return; // the compiler says so when it needs them
    }
  }

  /** The library's file and version. */
  public String name() {
    return library.path() + ", version " + version / 1000 + "." + version % 1000 / 10;
  }

  /** 1000 major + 10 minor. */
  public int version() {
    return version;
  }

  /**
   * Compiles a text.
   *
   * @param name what messages call it
   * @param source the text
   * @param headers what it may include, by name
   * @param arch the kind of device: sm_80, sm_90a, …
   * @return machine code, as the driver loads it
   * @throws DeviceException with the compiler's messages if it does not compile
   */
  public synchronized byte[] compile(
      String name, String source, Map<String, String> headers, String arch) {
    List<String> options = List.of("--gpu-architecture=" + arch, "--std=c++17");
    long program = 0;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment texts = arena.allocate(ADDRESS, Math.max(1, headers.size()));
      MemorySegment names = arena.allocate(ADDRESS, Math.max(1, headers.size()));
      int i = 0;
      for (Map.Entry<String, String> header : headers.entrySet()) {
        names.setAtIndex(ADDRESS, i, arena.allocateFrom(header.getKey()));
        texts.setAtIndex(ADDRESS, i++, arena.allocateFrom(header.getValue()));
      }
      MemorySegment result = arena.allocate(JAVA_LONG);
      MemorySegment title = arena.allocateFrom(name);
      MemorySegment text = arena.allocateFrom(source);
      check(
          (int) create.invokeExact(result, text, title, headers.size(), texts, names),
          "nvrtcCreateProgram");
      program = result.get(JAVA_LONG, 0);
      MemorySegment flags = arena.allocate(ADDRESS, options.size());
      for (int o = 0; o < options.size(); o++) {
        flags.setAtIndex(ADDRESS, o, arena.allocateFrom(options.get(o)));
      }
      int status = (int) compile.invokeExact(program, options.size(), flags);
      if (status != 0) {
        throw new DeviceException(
            name + " does not compile for " + arch + " by " + name() + ": " + log(arena, program));
      }
      check((int) imageSize.invokeExact(program, result), "nvrtcGetCUBINSize");
      MemorySegment bytes = arena.allocate(Math.max(1, result.get(JAVA_LONG, 0)), 16);
      check((int) image.invokeExact(program, bytes), "nvrtcGetCUBIN");
      return bytes.asSlice(0, result.get(JAVA_LONG, 0)).toArray(JAVA_BYTE);
    } catch (Throwable t) {
      throw rethrown(t);
    } finally {
      release(program);
    }
  }

  private String log(Arena arena, long program) throws Throwable {
    MemorySegment size = arena.allocate(JAVA_LONG);
    check((int) logSize.invokeExact(program, size), "nvrtcGetProgramLogSize");
    MemorySegment text = arena.allocate(size.get(JAVA_LONG, 0) + 1);
    check((int) log.invokeExact(program, text), "nvrtcGetProgramLog");
    return text.getString(0).strip();
  }

  private void release(long program) {
    if (program == 0) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment handle = arena.allocateFrom(JAVA_LONG, program);
      check((int) destroy.invokeExact(handle), "nvrtcDestroyProgram");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  private static void check(int status, String call) {
    if (status != 0) {
      throw new DeviceException(call + " reported status " + status);
    }
  }

  private static RuntimeException rethrown(Throwable t) {
    if (t instanceof Error e) {
      throw e;
    }
    return t instanceof RuntimeException e ? e : new IllegalStateException(t);
  }
}
