// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.cuda.driver.DriverLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.stream.Stream;
import org.junit.jupiter.api.function.Executable;

/**
 * Settings of the emulated driver that the tests run on ({@code stub_driver.cpp} lists them). On a
 * real device settings have no effect and figures are -1.
 */
public final class EmulatorControl {
  /** The system property that names other orders of threads than {@code 1,-1,2}. */
  static final String ORDERS_PROPERTY = "sfumato.emulator.orders";

  /** The orders of threads that tests of kernels run in; {@code emu.h} explains them. */
  private static final int[] ORDERS =
      Stream.of(System.getProperty(ORDERS_PROPERTY, "1,-1,2").split(","))
          .mapToInt(Integer::parseInt)
          .toArray();

  private static final EmulatorControl INSTANCE = new EmulatorControl(DriverLibrary.name());

  private final boolean emulated;
  private final MethodHandle set;
  private final MethodHandle get;
  private final MethodHandle reset;
  private final MethodHandle message;

  /** The settings of a library. */
  EmulatorControl(String library) {
    SymbolLookup symbols;
    try {
      symbols = SymbolLookup.libraryLookup(library, Arena.global());
    } catch (IllegalArgumentException e) {
      symbols = name -> java.util.Optional.empty();
    }
    emulated = symbols.find("emu_set").isPresent();
    set = bind(symbols, "emu_set", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));
    get = bind(symbols, "emu_get", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
    reset = bind(symbols, "emu_reset", FunctionDescriptor.of(JAVA_INT));
    message = bind(symbols, "emu_message", FunctionDescriptor.of(ADDRESS));
  }

  private static MethodHandle bind(SymbolLookup symbols, String name, FunctionDescriptor type) {
    return symbols.find(name).map(a -> Linker.nativeLinker().downcallHandle(a, type)).orElse(null);
  }

  /** Whether tests run on the emulator. */
  public static boolean isEmulated() {
    return INSTANCE.emulated;
  }

  /**
   * Runs a test in the three orders of threads; on a real device once.
   *
   * @param test what to run; a failure names the order
   */
  public static void inAllOrders(Executable test) throws Throwable {
    if (!isEmulated()) {
      test.execute();
      return;
    }
    long before = get("order");
    try {
      for (int order : ORDERS) {
        setOrder(order);
        try {
          test.execute();
        } catch (Throwable t) {
          t.addSuppressed(new AssertionError("with the emulator's threads in order " + order));
          throw t;
        }
      }
    } finally {
      set("order", before);
    }
  }

  /** The order of threads: 1, -1 or 2. */
  public static void setOrder(int order) {
    set("order", order);
  }

  /** The number of host threads that run blocks. */
  public static void setThreads(int threads) {
    set("threads", threads);
  }

  /** Lets the n-th allocation of device memory from now on fail; 0 none. */
  public static void failAllocation(int n) {
    set("fail_alloc", n);
  }

  /** Lets the n-th launch from now on fail, and everything after it; 0 none. */
  public static void failLaunch(int n) {
    set("fail_launch", n);
  }

  /** Forgets an error that would stay; returns how many allocations were written outside. */
  public static int reset() {
    try {
      return isEmulated() ? (int) INSTANCE.reset.invokeExact() : 0;
    } catch (Throwable t) {
      throw new IllegalStateException(t);
    }
  }

  /** What went wrong last, in words. */
  public static String message() {
    try {
      return isEmulated()
          ? ((MemorySegment) INSTANCE.message.invokeExact()).reinterpret(4096).getString(0)
          : "";
    } catch (Throwable t) {
      throw new IllegalStateException(t);
    }
  }

  /** Sets a setting, after all work that waits. */
  public static void set(String name, long value) {
    if (!isEmulated()) {
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      if ((int) INSTANCE.set.invokeExact(arena.allocateFrom(name), value) != 0) {
        throw new IllegalArgumentException("the emulator has no setting " + name);
      }
    } catch (RuntimeException e) {
      throw e;
    } catch (Throwable t) {
      throw new IllegalStateException(t);
    }
  }

  /** A setting or figure. */
  public static long get(String name) {
    if (!isEmulated()) {
      return -1;
    }
    try (Arena arena = Arena.ofConfined()) {
      return (long) INSTANCE.get.invokeExact(arena.allocateFrom(name));
    } catch (Throwable t) {
      throw new IllegalStateException(t);
    }
  }
}
