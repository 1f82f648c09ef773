// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.function.Supplier;

/**
 * Off-heap floats for tests, with guards behind them that must keep their value.
 *
 * <p>Kernels see addresses alone, which keep nothing alive, so every buffer is held until {@link
 * #releaseAll}, called after each test.
 */
final class NativeFloats {
  private static final List<MemorySegment> HELD = Collections.synchronizedList(new ArrayList<>());

  private static final int GUARDS = 32;
  private static final float GUARD = -12345.678f;

  final int n;
  final long address;
  private final MemorySegment memory;

  NativeFloats(int n) {
    this.n = n;
    // off the 64-byte grid, as slices of larger buffers are
    this.memory = Arena.ofAuto().allocate((n + GUARDS + 1) * 4L, 64);
    this.address = memory.address() + 4;
    HELD.add(memory);
    for (int i = 0; i < GUARDS; i++) {
      Memory.putFloat(address + (n + i) * 4L, GUARD);
    }
  }

  /** Lets go of all buffers; their addresses are invalid from then on. */
  static void releaseAll() {
    HELD.clear();
  }

  static NativeFloats of(float... values) {
    NativeFloats f = new NativeFloats(values.length);
    for (int i = 0; i < values.length; i++) {
      f.set(i, values[i]);
    }
    return f;
  }

  static NativeFloats random(int n, long seed) {
    return random(n, seed, 0, 1);
  }

  static NativeFloats random(int n, long seed, double mean, double sd) {
    Random r = new Random(seed);
    NativeFloats f = new NativeFloats(n);
    for (int i = 0; i < n; i++) {
      f.set(i, (float) (mean + sd * r.nextGaussian()));
    }
    return f;
  }

  float get(int i) {
    return Memory.getFloat(address + i * 4L);
  }

  void set(int i, float value) {
    Memory.putFloat(address + i * 4L, value);
  }

  NativeFloats copy() {
    NativeFloats f = new NativeFloats(n);
    Memory.copy(address, f.address, n * 4L);
    return f;
  }

  float[] toArray() {
    float[] out = new float[n];
    for (int i = 0; i < n; i++) {
      out[i] = get(i);
    }
    checkGuards("");
    return out;
  }

  void checkGuards(String what) {
    assertEquals(memory.address() + 4, address);
    for (int i = 0; i < GUARDS; i++) {
      assertEquals(GUARD, get(n + i), what + ": guard " + i + " of " + n);
    }
  }

  /** Checks against a reference, relative to {@code max(|expected|, scale)}. */
  void check(double[] expected, double tolerance, double scale, String what) {
    assertEquals(expected.length, n, what);
    for (int i = 0; i < n; i++) {
      double e = expected[i];
      double limit = tolerance * Math.max(Math.abs(e), scale);
      boolean same = get(i) == e || Double.isNaN(e) && Float.isNaN(get(i));
      if (!same && !(Math.abs(get(i) - e) <= limit && Double.isFinite(e))) {
        throw new AssertionError(
            what + ": element " + i + " of " + n + " should be " + e + "; got " + get(i));
      }
    }
    checkGuards(what);
  }

  /**
   * All sets of loops: in plain Java, over vectors, and these with tiles by machine code; or those
   * over vectors alone where a length of vectors is under test.
   */
  static List<SimdProvider> providers() {
    return System.getProperty("sfumato.test.vectors") == null
        ? List.of(Simd.scalar(), Chosen.COMPILED, Chosen.TILES)
        : List.of(Simd.provider());
  }

  /** Likewise, and with the processor's matrix unit, or an emulated one. */
  static List<SimdProvider> productProviders() {
    List<SimdProvider> all = new ArrayList<>(providers());
    if (all.size() > 1) {
      all.add(Chosen.UNIT);
    }
    return all;
  }

  private static final class Chosen {
    /** Without machine code. */
    static final SimdProvider COMPILED = without("sfumato.machine.code");

    static final SimdProvider TILES = without("sfumato.matrix.unit");

    static final SimdProvider UNIT =
        Simd.provider().gemmTile().unit() == null ? emulated(TILES) : Simd.provider();

    private static SimdProvider without(String property) {
      System.setProperty(property, "off");
      try {
        return Simd.choose(null);
      } finally {
        System.clearProperty(property);
      }
    }

    private static SimdProvider emulated(SimdProvider loops) {
      MatrixUnit unit = new EmulatedUnit();
      return proxy(
          SimdProvider.class,
          loops,
          "gemmTile",
          () -> proxy(GemmTile.class, loops.gemmTile(), "unit", () -> unit));
    }

    /** An object that answers one method by itself and leaves the others to another object. */
    private static <T> T proxy(Class<T> type, T other, String name, Supplier<?> answer) {
      return type.cast(
          Proxy.newProxyInstance(
              type.getClassLoader(),
              new Class<?>[] {type},
              (self, method, arguments) ->
                  method.getName().equals(name) ? answer.get() : method.invoke(other, arguments)));
    }
  }
}
