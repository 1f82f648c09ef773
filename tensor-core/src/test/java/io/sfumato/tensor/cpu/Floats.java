// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.lang.foreign.Arena;
import java.util.Random;

/** Native float arrays for tests, with a guard behind them that must stay as it was. */
record Floats(long address, int size) {
  private static final int GUARD = 64;
  private static final float GUARD_VALUE = 12345.5f;

  static Floats zeros(Arena arena, int size) {
    Floats floats = new Floats(arena.allocate(4L * (size + GUARD), 64).address(), size);
    for (int i = size; i < size + GUARD; i++) {
      floats.set(i, GUARD_VALUE);
    }
    return floats;
  }

  static Floats random(Arena arena, int size, long seed) {
    Floats floats = zeros(arena, size);
    Random random = new Random(seed);
    for (int i = 0; i < size; i++) {
      floats.set(i, random.nextFloat() * 2 - 1);
    }
    return floats;
  }

  static Floats filled(Arena arena, int size, float value) {
    Floats floats = zeros(arena, size);
    for (int i = 0; i < size; i++) {
      floats.set(i, value);
    }
    return floats;
  }

  float get(long i) {
    return Memory.getFloat(address + 4 * i);
  }

  void set(long i, float value) {
    Memory.putFloat(address + 4 * i, value);
  }

  float[] toArray() {
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = get(i);
    }
    return values;
  }

  void assertGuard(String what) {
    for (int i = size; i < size + GUARD; i++) {
      assertEquals(GUARD_VALUE, get(i), what + " wrote behind its result");
    }
  }

  /** Every element within {@code 1e-6 * (1 + terms)^0.5 * 4} of the expected value. */
  void assertClose(double[] expected, int terms, String what) {
    assertEquals(expected.length, size, what);
    double tolerance = 4e-6 * Math.sqrt(1 + terms);
    for (int i = 0; i < size; i++) {
      if (!(Math.abs(expected[i] - get(i)) <= tolerance)) {
        fail(what + ": element " + i + " is " + get(i) + ", expected " + expected[i]);
      }
    }
    assertGuard(what);
  }
}
