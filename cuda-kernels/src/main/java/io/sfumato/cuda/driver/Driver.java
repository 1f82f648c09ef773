// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.tensor.DeviceException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import org.jspecify.annotations.Nullable;

/**
 * The functions of the NVIDIA driver's library that this backend calls (CUDA driver API), bound by
 * {@code java.lang.foreign}: a call costs some 20 ns, a hundredth of one through JNI with arrays.
 * Handles (contexts, streams, functions) and addresses are plain {@code long}s. A function that the
 * library lacks is noticed when it is called, as an exception that names it.
 */
public final class Driver {
  private static final SymbolLookup SYMBOLS =
      SymbolLookup.libraryLookup(DriverLibrary.name(), Arena.global()); // never unloaded
  private static final Linker LINKER = Linker.nativeLinker();

  private static final MethodHandle INIT = bind("cuInit", JAVA_INT);
  private static final MethodHandle VERSION = bind("cuDriverGetVersion", ADDRESS);
  private static final MethodHandle DEVICE = bind("cuDeviceGet", ADDRESS, JAVA_INT);
  private static final MethodHandle COUNT = bind("cuDeviceGetCount", ADDRESS);
  private static final MethodHandle NAME = bind("cuDeviceGetName", ADDRESS, JAVA_INT, JAVA_INT);
  private static final MethodHandle ATTRIBUTE =
      bind("cuDeviceGetAttribute", ADDRESS, JAVA_INT, JAVA_INT);
  private static final MethodHandle TOTAL = bind("cuDeviceTotalMem_v2", ADDRESS, JAVA_INT);
  private static final MethodHandle RETAIN = bind("cuDevicePrimaryCtxRetain", ADDRESS, JAVA_INT);
  private static final MethodHandle RELEASE = bind("cuDevicePrimaryCtxRelease_v2", JAVA_INT);
  private static final MethodHandle SET_CURRENT = bind("cuCtxSetCurrent", JAVA_LONG);
  private static final MethodHandle LOAD =
      bind("cuModuleLoadDataEx", ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS);
  private static final MethodHandle FUNCTION =
      bind("cuModuleGetFunction", ADDRESS, JAVA_LONG, ADDRESS);
  private static final MethodHandle SET_FUNCTION =
      bind("cuFuncSetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT);
  private static final MethodHandle ALLOCATE = bind("cuMemAlloc_v2", ADDRESS, JAVA_LONG);
  private static final MethodHandle FREE = bind("cuMemFree_v2", JAVA_LONG);
  private static final MethodHandle MEMORY = bind("cuMemGetInfo_v2", ADDRESS, ADDRESS);
  private static final MethodHandle ALLOCATE_HOST =
      bind("cuMemHostAlloc", ADDRESS, JAVA_LONG, JAVA_INT);
  private static final MethodHandle FREE_HOST = bind("cuMemFreeHost", JAVA_LONG);
  private static final MethodHandle TO_DEVICE =
      bind("cuMemcpyHtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle TO_HOST =
      bind("cuMemcpyDtoHAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle WITHIN =
      bind("cuMemcpyDtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle SET =
      bind("cuMemsetD8Async", JAVA_LONG, JAVA_BYTE, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle STREAM = bind("cuStreamCreate", ADDRESS, JAVA_INT);
  private static final MethodHandle STREAM_SYNC = bind("cuStreamSynchronize", JAVA_LONG);
  private static final MethodHandle STREAM_WAIT =
      bind("cuStreamWaitEvent", JAVA_LONG, JAVA_LONG, JAVA_INT);
  private static final MethodHandle EVENT = bind("cuEventCreate", ADDRESS, JAVA_INT);
  private static final MethodHandle EVENT_RECORD = bind("cuEventRecord", JAVA_LONG, JAVA_LONG);
  private static final MethodHandle EVENT_SYNC = bind("cuEventSynchronize", JAVA_LONG);
  private static final MethodHandle EVENT_DESTROY = bind("cuEventDestroy_v2", JAVA_LONG);
  private static final MethodHandle EVENT_TIME =
      bind("cuEventElapsedTime", ADDRESS, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle LAUNCH =
      bind(
          "cuLaunchKernel",
          JAVA_LONG,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_LONG,
          JAVA_LONG,
          JAVA_LONG);
  private static final MethodHandle ERROR_NAME = bind("cuGetErrorName", JAVA_INT, ADDRESS);
  private static final MethodHandle ERROR_TEXT = bind("cuGetErrorString", JAVA_INT, ADDRESS);

  private Driver() {}

  /**
   * A function of the library that returns a CUresult.
   *
   * @param name its name with the version suffix
   * @param arguments layouts of its arguments
   * @return the function; one that throws where the library lacks it
   */
  public static MethodHandle bind(String name, MemoryLayout... arguments) {
    FunctionDescriptor type = FunctionDescriptor.of(JAVA_INT, arguments);
    return SYMBOLS
        .find(name)
        .map(address -> LINKER.downcallHandle(address, type))
        .orElseGet(() -> Missing.handle(name, type.toMethodType()));
  }

  /** Whether the library has a function of this name. */
  static boolean has(String name) {
    return SYMBOLS.find(name).isPresent();
  }

  /** Throws what a call reported, unless it reported success. */
  public static void check(int code, String call) {
    if (code != 0) {
      throw new CudaException(code, call, name(code), text(code));
    }
  }

  // ---- devices and contexts

  static void init() {
    try {
      check((int) INIT.invokeExact(0), "cuInit");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  /** The newest CUDA that the driver knows: 1000 major + 10 minor. */
  static int version() {
    return number(VERSION, "cuDriverGetVersion");
  }

  static int count() {
    return number(COUNT, "cuDeviceGetCount");
  }

  private static int number(MethodHandle function, String name) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_INT);
      check((int) function.invokeExact(result), name);
      return result.get(JAVA_INT, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static int device(int index) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_INT);
      check((int) DEVICE.invokeExact(result, index), "cuDeviceGet");
      return result.get(JAVA_INT, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static String name(int device, int limit) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(limit);
      check((int) NAME.invokeExact(result, limit, device), "cuDeviceGetName");
      return result.getString(0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static int attribute(int device, int attribute) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_INT);
      check((int) ATTRIBUTE.invokeExact(result, attribute, device), "cuDeviceGetAttribute");
      return result.get(JAVA_INT, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static long totalMemory(int device) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      check((int) TOTAL.invokeExact(result, device), "cuDeviceTotalMem");
      return result.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static long retainContext(int device) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      check((int) RETAIN.invokeExact(result, device), "cuDevicePrimaryCtxRetain");
      return result.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void releaseContext(int device) {
    try {
      check((int) RELEASE.invokeExact(device), "cuDevicePrimaryCtxRelease");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void setCurrent(long context) {
    try {
      check((int) SET_CURRENT.invokeExact(context), "cuCtxSetCurrent");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  // ---- kernel images

  /** Loads PTX (as text with a closing NUL) or a cubin; the error carries the compiler's log. */
  static long load(byte[] image, String what) {
    int logSize = 8192;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      MemorySegment data = arena.allocate(image.length + 1L, 16);
      MemorySegment.copy(image, 0, data, JAVA_BYTE, 0, image.length);
      MemorySegment log = arena.allocate(logSize);
      MemorySegment options = arena.allocateFrom(JAVA_INT, 5, 6); // error log: buffer, its size
      MemorySegment values = arena.allocateFrom(JAVA_LONG, log.address(), logSize);
      int code = (int) LOAD.invokeExact(result, data, 2, options, values);
      if (code != 0) {
        String said = log.getString(0).strip();
        throw new CudaException(
            code,
            "cuModuleLoadDataEx of " + what,
            name(code),
            text(code) + (said.isEmpty() ? "" : ": " + said));
      }
      return result.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static long function(long module, String name) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      int code = (int) FUNCTION.invokeExact(result, module, arena.allocateFrom(name));
      check(code, "cuModuleGetFunction of " + name);
      return result.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void setFunctionAttribute(long function, int attribute, int value) {
    try {
      check((int) SET_FUNCTION.invokeExact(function, attribute, value), "cuFuncSetAttribute");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  /** Launches; the result is the CUresult, for the caller to explain. */
  static int launch(
      long function, int[] grid, int[] block, int shared, long stream, long argumentPointers) {
    try {
      return (int)
          LAUNCH.invokeExact(
              function,
              grid[0],
              grid[1],
              grid[2],
              block[0],
              block[1],
              block[2],
              shared,
              stream,
              argumentPointers,
              0L);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  // ---- memory

  /** Device memory; 0 if there is not enough. */
  static long allocate(long bytes) {
    return allocated(ALLOCATE, "cuMemAlloc", bytes, -1);
  }

  /** Page-locked host memory that the device can write to under the same address. */
  static long allocateHost(long bytes) {
    long address = allocated(ALLOCATE_HOST, "cuMemHostAlloc", bytes, 1 | 2);
    if (address == 0) {
      throw new CudaException(2, "cuMemHostAlloc", name(2), "no page-locked memory is left");
    }
    return address;
  }

  private static long allocated(MethodHandle function, String name, long bytes, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      int code =
          flags < 0
              ? (int) function.invokeExact(result, bytes)
              : (int) function.invokeExact(result, bytes, flags);
      if (code == CudaException.OUT_OF_MEMORY) {
        return 0;
      }
      check(code, name);
      return result.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void free(long address) {
    try {
      check((int) FREE.invokeExact(address), "cuMemFree");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void freeHost(long address) {
    try {
      check((int) FREE_HOST.invokeExact(address), "cuMemFreeHost");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  /** Free and total bytes of the current device. */
  static long[] memory() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG, 2);
      check((int) MEMORY.invokeExact(result, result.asSlice(8)), "cuMemGetInfo");
      return result.toArray(JAVA_LONG);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void toDevice(long device, long host, long bytes, long stream) {
    try {
      check((int) TO_DEVICE.invokeExact(device, host, bytes, stream), "cuMemcpyHtoDAsync");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void toHost(long host, long device, long bytes, long stream) {
    try {
      check((int) TO_HOST.invokeExact(host, device, bytes, stream), "cuMemcpyDtoHAsync");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void within(long to, long from, long bytes, long stream) {
    try {
      check((int) WITHIN.invokeExact(to, from, bytes, stream), "cuMemcpyDtoDAsync");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void fill(long address, byte value, long bytes, long stream) {
    try {
      check((int) SET.invokeExact(address, value, bytes, stream), "cuMemsetD8Async");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  // ---- streams and events

  static long createStream() {
    return created(STREAM, "cuStreamCreate", 1); // does not wait for the default stream
  }

  static void synchronizeStream(long stream) {
    try {
      check((int) STREAM_SYNC.invokeExact(stream), "cuStreamSynchronize");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void waitFor(long stream, long event) {
    try {
      check((int) STREAM_WAIT.invokeExact(stream, event, 0), "cuStreamWaitEvent");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static long createEvent(boolean timed) {
    return created(EVENT, "cuEventCreate", timed ? 0 : 2);
  }

  private static long created(MethodHandle function, String name, int flags) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      check((int) function.invokeExact(result, flags), name);
      return result.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void record(long event, long stream) {
    try {
      check((int) EVENT_RECORD.invokeExact(event, stream), "cuEventRecord");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void synchronizeEvent(long event) {
    try {
      check((int) EVENT_SYNC.invokeExact(event), "cuEventSynchronize");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  static void destroyEvent(long event) {
    try {
      check((int) EVENT_DESTROY.invokeExact(event), "cuEventDestroy");
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  /** Milliseconds between two recorded events that have happened. */
  static float elapsed(long from, long to) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_INT);
      check((int) EVENT_TIME.invokeExact(result, from, to), "cuEventElapsedTime");
      return Float.intBitsToFloat(result.get(JAVA_INT, 0));
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  // ---- errors

  static String name(int code) {
    return string(ERROR_NAME, code, "error " + code);
  }

  static String text(int code) {
    return string(ERROR_TEXT, code, "an error this driver does not name");
  }

  private static String string(MethodHandle function, int code, String otherwise) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ADDRESS);
      int status = (int) function.invokeExact(code, result);
      MemorySegment text = result.get(ADDRESS, 0);
      return status != 0 || text.address() == 0 ? otherwise : text.reinterpret(4096).getString(0);
    } catch (Throwable t) {
      return otherwise;
    }
  }

  /** Native functions throw no checked exceptions. */
  static RuntimeException rethrown(@Nullable Throwable t) {
    if (t instanceof RuntimeException e) {
      return e;
    }
    if (t instanceof Error e) {
      throw e;
    }
    return new IllegalStateException(t);
  }

  /** A handle that says which function is missing. */
  private static final class Missing {
    private Missing() {}

    static MethodHandle handle(String name, java.lang.invoke.MethodType type) {
      DeviceException e =
          new DeviceException(
              "the NVIDIA driver's library "
                  + DriverLibrary.name()
                  + " has no function "
                  + name
                  + "; update the driver, or use --device cpu");
      MethodHandle thrower =
          java.lang.invoke.MethodHandles.throwException(int.class, DeviceException.class).bindTo(e);
      return java.lang.invoke.MethodHandles.dropArguments(thrower, 0, type.parameterList());
    }
  }
}
