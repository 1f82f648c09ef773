// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PhiloxTest {
  private static final long KEY = 0x243f6a8885a308d3L;

  /** Offsets and counts that begin and end inside blocks, and counts beyond one batch of blocks. */
  private static final int[][] SLICES = {
    {0, 0}, {0, 1}, {0, 3}, {0, 4}, {1, 2}, {1, 3}, {2, 5}, {3, 1}, {3, 2}, {5, 1027}, {0, 1024},
    {4, 1024}, {7, 2050}
  };

  @FunctionalInterface
  private interface Fill {
    void fill(long key, long offset, long count, long address);
  }

  @Test
  void knownAnswersOfRandom123() {
    assertArrayEquals(
        new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, Philox.block(0, 0, 0));
    assertArrayEquals(
        new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, Philox.block(-1, -1, -1));
    assertArrayEquals(
        new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
        Philox.block(0x299f31d0a4093822L, 0x85a308d3243f6a88L, 0x0370734413198a2eL));
  }

  @Test
  void anySliceOfADrawIsThatPartOfIt() {
    for (int[] slice : SLICES) {
      long offset = slice[0];
      int count = slice[1];
      int[] bits = ints(Philox::fillBits, offset, count);
      float[] uniform = floats(Philox::fillUniform, offset, count);
      float[] normal = floats(Philox::fillNormal, offset, count);
      double[] uniform64 = doubles(Philox::fillUniformF64, offset, count);
      double[] normal64 = doubles(Philox::fillNormalF64, offset, count);
      long[] integers = longs(offset, count, -5, 12);
      for (int i = 0; i < count; i++) {
        assertEquals(Philox.bits(KEY, offset + i), bits[i]);
        assertEquals(Philox.uniform(KEY, offset + i), uniform[i]);
        assertEquals(Philox.normal(KEY, offset + i), normal[i]);
        assertEquals(uniform[i], uniform64[i]);
        assertEquals(normal[i], normal64[i]);
        assertEquals(Philox.integer(KEY, offset + i, -5, 12), integers[i]);
      }
    }
  }

  @Test
  void elementsBeyond32BitsOfCounterFollow() {
    long offset = (1L << 36) - 6; // the low counter word overflows inside the slice
    int[] bits = ints(Philox::fillBits, offset, 40);
    for (int i = 0; i < 40; i++) {
      long element = offset + i;
      assertEquals(Philox.block(KEY, element >>> 2, 0)[(int) element & 3], bits[i]);
    }
  }

  @Test
  void writesNothingOutsideItsElements() {
    for (int[] slice : SLICES) {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment memory = arena.allocate(8L * slice[1] + 64, 64);
        memory.fill((byte) 0x5a);
        Philox.fillNormal(KEY, slice[0], slice[1], memory.address() + 32);
        for (long b = 0; b < 32; b++) {
          assertEquals(0x5a, memory.get(ValueLayout.JAVA_BYTE, b));
          long after = 32 + 4L * slice[1] + b;
          assertEquals(0x5a, memory.get(ValueLayout.JAVA_BYTE, after));
        }
      }
    }
  }

  @Test
  void normalsAreBoxMullerOfTheWords() {
    float[] normal = floats(Philox::fillNormal, 0, 4000);
    for (int i = 0; i < normal.length; i++) {
      int[] words = Philox.block(KEY, i >> 2, 0);
      float u = (float) (((words[i & 2] & 0xffffffffL) + 0.5) * 0x1p-32);
      double angle = 2 * Math.PI * (words[(i & 2) + 1] & 0xffffffffL) * 0x1p-32;
      double radius = StrictMath.sqrt(-2 * StrictMath.log(u));
      double want = radius * ((i & 1) == 0 ? StrictMath.cos(angle) : StrictMath.sin(angle));
      assertEquals(want, normal[i], 5e-7 * Math.max(1, radius));
    }
  }

  @Test
  void extremeWordsGiveFiniteNormals() {
    assertEquals(6.764, BoxMuller.radius(0), 1e-3);
    assertTrue(BoxMuller.radius(-1) == 0);
    for (int word :
        new int[] {0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE, 0x20000000, 0x1fffffff}) {
      assertTrue(BoxMuller.radius(word) >= 0 && BoxMuller.radius(word) < 6.77f);
      int quarter = BoxMuller.quarter(word);
      assertTrue(Math.abs(BoxMuller.rest(word, quarter)) <= 0.7853982f);
    }
  }

  /** Fixed bits: a change here changes the noise of every seed. */
  @Test
  void theNumbersOfAKeyNeverChange() {
    int[] want = {
      0xbf785e5c, 0x3e46ace8, 0xbf9e28d2, 0x3ff6433c, 0xbd95e033, 0x3e0e7a13, 0xbf8da734, 0x3ea742fe
    };
    for (int i = 0; i < want.length; i++) {
      assertEquals(want[i], Float.floatToRawIntBits(Philox.normal(42, i)));
    }
    assertEquals(0x51d2236ff1dcfe03L, Philox.deriveKey(42, 1));
  }

  @Test
  void momentsAreThoseOfTheDistributions() {
    int n = 1 << 20;
    float[] normal = floats(Philox::fillNormal, 0, n);
    double[] moments = new double[4];
    for (float z : normal) {
      double power = 1;
      for (int k = 0; k < 4; k++) {
        power *= z;
        moments[k] += power / n;
      }
    }
    double unit = 1 / Math.sqrt(n); // bounds of 5 standard errors
    assertEquals(0, moments[0], 5 * unit);
    assertEquals(1, moments[1], 5 * Math.sqrt(2) * unit);
    assertEquals(0, moments[2], 5 * Math.sqrt(15) * unit);
    assertEquals(3, moments[3], 5 * Math.sqrt(96) * unit);

    int[] bins = new int[64];
    for (float u : floats(Philox::fillUniform, 0, n)) {
      assertTrue(u >= 0 && u < 1);
      bins[(int) (u * 64)]++;
    }
    double chiSquare = 0;
    for (int bin : bins) {
      double expected = n / 64.0;
      chiSquare += (bin - expected) * (bin - expected) / expected;
    }
    assertEquals(63, chiSquare, 5 * Math.sqrt(2 * 63));
  }

  @Test
  void neighboursAreUncorrelated() {
    int n = 1 << 20;
    float[] normal = floats(Philox::fillNormal, 0, n);
    for (int lag = 1; lag <= 4; lag++) {
      double product = 0;
      for (int i = lag; i < n; i++) {
        product += (double) normal[i] * normal[i - lag];
      }
      assertEquals(0, product / n, 5 / Math.sqrt(n), "lag " + lag);
    }
  }

  @Test
  void integersCoverTheirRange() {
    int[] seen = new int[7];
    for (long value : longs(0, 7000, -3, 4)) {
      seen[(int) value + 3]++;
    }
    for (int count : seen) {
      assertEquals(1000, count, 150);
    }
    for (long value : longs(0, 100, Long.MIN_VALUE, Long.MAX_VALUE)) {
      assertTrue(value < Long.MAX_VALUE);
    }
    assertEquals(9, Philox.integer(KEY, 3, 9, 10));
  }

  @Test
  void derivedKeysDiffer() {
    Set<Long> keys = new HashSet<>();
    for (long key = 0; key < 50; key++) {
      for (long index = 0; index < 50; index++) {
        keys.add(Philox.deriveKey(key, index));
      }
    }
    assertEquals(2500, keys.size());
  }

  @Test
  void refusesWhatHasNoMeaning() {
    assertThrows(IllegalArgumentException.class, () -> Philox.integer(KEY, 0, 4, 4));
    assertThrows(IllegalArgumentException.class, () -> Philox.fillNormal(KEY, -1, 4, 0));
    assertThrows(IllegalArgumentException.class, () -> Philox.fillBits(KEY, 0, -4, 0));
    assertThrows(IllegalArgumentException.class, () -> Philox.fillIntegers(KEY, 0, -4, 0, 1, 0));
  }

  private static int[] ints(Fill fill, long offset, int count) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(4L * count + 4, 64);
      fill.fill(KEY, offset, count, memory.address());
      return memory.asSlice(0, 4L * count).toArray(ValueLayout.JAVA_INT);
    }
  }

  private static float[] floats(Fill fill, long offset, int count) {
    int[] bits = ints(fill, offset, count);
    float[] out = new float[count];
    for (int i = 0; i < count; i++) {
      out[i] = Float.intBitsToFloat(bits[i]);
    }
    return out;
  }

  private static double[] doubles(Fill fill, long offset, int count) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(8L * count + 8, 64);
      fill.fill(KEY, offset, count, memory.address());
      return memory.asSlice(0, 8L * count).toArray(ValueLayout.JAVA_DOUBLE);
    }
  }

  private static long[] longs(long offset, int count, long low, long high) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(8L * count + 8, 64);
      Philox.fillIntegers(KEY, offset, count, low, high, memory.address());
      return memory.asSlice(0, 8L * count).toArray(ValueLayout.JAVA_LONG);
    }
  }
}
