// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import io.sfumato.tensor.cpu.Memory;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/** Pages of memory from Linux, by its C library. Sizes are whole pages of {@link #PAGE} bytes. */
public final class LinuxMemory {
  /** Bytes of a page. */
  public static final long PAGE = 4096;

  /** Bytes that functions begin at multiples of. */
  private static final int ALIGNMENT = 64;

  private static final int READ = 1;
  private static final int WRITE = 2;
  private static final int EXECUTE = 4;
  private static final int PRIVATE_ANONYMOUS = 0x22;
  private static final int ADVICE_HUGE_PAGE = 14;
  private static final long FAILED = -1;

  private static final ValueLayout.OfLong WORD = ValueLayout.JAVA_LONG;
  private static final ValueLayout.OfInt NUMBER = ValueLayout.JAVA_INT;

  private static final MethodHandle MMAP =
      function("mmap", WORD, WORD, WORD, NUMBER, NUMBER, NUMBER, WORD);
  private static final MethodHandle MUNMAP = function("munmap", NUMBER, WORD, WORD);
  private static final MethodHandle MADVISE = function("madvise", NUMBER, WORD, WORD, NUMBER);
  private static final MethodHandle MPROTECT = function("mprotect", NUMBER, WORD, WORD, NUMBER);

  private LinuxMemory() {}

  private static MethodHandle function(
      String name, MemoryLayout result, MemoryLayout... arguments) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(
        linker.defaultLookup().findOrThrow(name), FunctionDescriptor.of(result, arguments));
  }

  /** {@code bytes}, rounded up to whole pages. */
  public static long pages(long bytes) {
    return (bytes + PAGE - 1) & -PAGE;
  }

  /**
   * New pages, zero, to read and write.
   *
   * @return their address
   * @throws OutOfMemoryError if the system has no more
   */
  public static long map(long bytes) {
    long at;
    try {
      at = (long) MMAP.invokeExact(0L, bytes, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0L);
    } catch (Throwable e) {
      throw unexpected("mmap", e);
    }
    if (at == FAILED) {
      throw new OutOfMemoryError("the system has no " + bytes + " bytes left");
    }
    return at;
  }

  /** Gives pages back. */
  public static void unmap(long address, long bytes) {
    if (bytes == 0) {
      return;
    }
    int result;
    try {
      result = (int) MUNMAP.invokeExact(address, bytes);
    } catch (Throwable e) {
      throw unexpected("munmap", e);
    }
    if (result != 0) {
      throw new IllegalStateException("munmap of " + bytes + " bytes failed");
    }
  }

  /** Asks for huge pages; whether they come is up to the system. */
  public static void wishHugePages(long address, long bytes) {
    try {
      int unused = (int) MADVISE.invokeExact(address, bytes, ADVICE_HUGE_PAGE);
    } catch (Throwable e) {
      throw unexpected("madvise", e);
    }
  }

  /**
   * Puts functions of machine code into pages of their own, to read and execute, for the life of
   * the process. At no time can they be both written and executed.
   *
   * @return where each begins
   * @throws UnsupportedOperationException if the system does not let programs make code
   */
  public static List<MemorySegment> load(List<byte[]> functions) {
    var code = new ByteArrayOutputStream();
    List<Integer> offsets = new ArrayList<>();
    for (byte[] function : functions) {
      code.writeBytes(new byte[-code.size() & (ALIGNMENT - 1)]);
      offsets.add(code.size());
      code.writeBytes(function);
    }
    long start = load(code.toByteArray());
    return offsets.stream().map(offset -> MemorySegment.ofAddress(start + offset)).toList();
  }

  /**
   * A handle to call such functions by, the address first. A call goes without the JVM's changes of
   * state ({@link Linker.Option#critical}), so it takes some nanoseconds, and a garbage collection
   * waits for its end.
   */
  public static MethodHandle caller(FunctionDescriptor descriptor) {
    return Linker.nativeLinker().downcallHandle(descriptor, Linker.Option.critical(false));
  }

  private static long load(byte[] code) {
    long size = pages(code.length);
    long at = map(size);
    MemorySegment.copy(code, 0, Memory.ALL, ValueLayout.JAVA_BYTE, at, code.length);
    int result;
    try {
      result = (int) MPROTECT.invokeExact(at, size, READ | EXECUTE);
    } catch (Throwable e) {
      throw unexpected("mprotect", e);
    }
    if (result != 0) {
      unmap(at, size);
      throw new UnsupportedOperationException("memory cannot be made executable here (mprotect)");
    }
    return at;
  }

  private static RuntimeException unexpected(String function, Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return new IllegalStateException(function, e);
  }
}
