// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The library that stands for NCCL in tests: {@code src/test/native/fake_nccl.cpp}. */
final class FakeNccl {
  private final Path file;
  private final SymbolLookup symbols;

  private FakeNccl(Path file) {
    this.file = file;
    this.symbols = SymbolLookup.libraryLookup(file, Arena.global());
  }

  /** Compiles it into a folder, and makes it the NCCL of this process. */
  static FakeNccl build(Path folder) {
    Path library = folder.resolve("libnccl.so.2");
    List<String> command =
        List.of(
            "g++",
            "-std=c++20",
            "-O1",
            "-fPIC",
            "-shared",
            "-fvisibility=hidden",
            "-Wall",
            source().toString(),
            "-o",
            library.toString());
    try {
      Process compiler = new ProcessBuilder(command).redirectErrorStream(true).start();
      String said = new String(compiler.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (!compiler.waitFor(60, TimeUnit.SECONDS) || compiler.exitValue() != 0) {
        throw new IllegalStateException(said);
      }
    } catch (IOException e) {
      assumeTrue(false, "g++ is not installed: " + e.getMessage());
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    System.setProperty(NcclLibrary.PROPERTY, library.toString());
    return new FakeNccl(library);
  }

  private static Path source() {
    for (Path p = Path.of("").toAbsolutePath(); p != null; p = p.getParent()) {
      for (Path candidate : List.of(p, p.resolve("models"))) {
        Path file = candidate.resolve("src/test/native/fake_nccl.cpp");
        if (Files.exists(file)) {
          return file;
        }
      }
    }
    throw new IllegalStateException("fake_nccl.cpp is not in or above the working directory");
  }

  Path file() {
    return file;
  }

  private MethodHandle control(String name, MemoryLayout... arguments) {
    return Linker.nativeLinker()
        .downcallHandle(symbols.findOrThrow(name), FunctionDescriptor.ofVoid(arguments));
  }

  /** Forgets calls and failures. */
  void reset() {
    try {
      control("fake_nccl_reset").invokeExact();
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  /** The calls so far, one each. */
  List<String> calls() {
    MethodHandle handle =
        Linker.nativeLinker()
            .downcallHandle(
                symbols.findOrThrow("fake_nccl_calls"), FunctionDescriptor.of(ValueLayout.ADDRESS));
    try {
      MemorySegment text = (MemorySegment) handle.invokeExact();
      return text.reinterpret(Integer.MAX_VALUE).getString(0).lines().toList();
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  /** Lets a function fail, on one rank or, if it is negative, on all. */
  void fail(String function, int rank, int code) {
    try (Arena arena = Arena.ofConfined()) {
      control("fake_nccl_fail", ValueLayout.ADDRESS, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT)
          .invokeExact(arena.allocateFrom(function), rank, code);
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  /** Lets what is under way fail. */
  void failUnderWay(int code) {
    call("fake_nccl_async", code);
  }

  /** The version that this thread sees. */
  void version(int version) {
    call("fake_nccl_version", version);
  }

  private void call(String name, int argument) {
    try {
      control(name, ValueLayout.JAVA_INT).invokeExact(argument);
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }
}
