// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.tensor.cpu.EmulatedUnit;
import io.sfumato.tensor.cpu.GemmTile;
import io.sfumato.tensor.cpu.MatrixUnit;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Simd;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The processor's matrix unit against what its manual says, bit for bit. */
class AmxUnitTest {
  private static final VectorGemmTile VECTORS = VectorGemmTile.of(null);
  private static final MatrixUnit EMULATED = new EmulatedUnit();
  private static final int BLOCK = MatrixUnit.BLOCK_BYTES;

  private static MatrixUnit unit() {
    AssembledTile tile = AssembledTile.of(VECTORS, null, null);
    assumeTrue(tile != null && tile.unit() != null, "no matrix unit on this machine");
    return tile.unit();
  }

  private static long floats(Arena arena, int n, long seed) {
    long at = arena.allocate(4L * n, 64).address();
    Random random = new Random(seed);
    for (int i = 0; i < n; i++) {
      double spread = Math.exp(10 * random.nextGaussian());
      Memory.putFloat(at + 4L * i, (float) (random.nextGaussian() * spread));
    }
    return at;
  }

  private static void assertSame(long expected, long actual, long bytes, String what) {
    for (long i = 0; i < bytes; i += 4) {
      assertEquals(
          Integer.toHexString(Memory.getInt(expected + i)),
          Integer.toHexString(Memory.getInt(actual + i)),
          what + ": at byte " + i);
    }
  }

  @Test
  void splitsAsDefined() {
    MatrixUnit unit = unit();
    try (Arena arena = Arena.ofConfined()) {
      long from = floats(arena, 1 << 12, 1);
      for (int rows : new int[] {1, 7, 16}) {
        for (int lanes : new int[] {0, 1, 9, 16}) {
          for (int second : new int[] {0, 5, 16}) {
            long theirs = arena.allocate(4L * BLOCK, 64).address();
            long ours = arena.allocate(4L * BLOCK, 64).address();
            String what = rows + " rows, " + lanes + " and " + second + " lanes";
            assertTrue(
                EMULATED.split(3, rows, from, 52, 200, 1000, theirs, BLOCK, 1152, lanes, second, 0),
                what);
            assertTrue(
                unit.split(3, rows, from, 52, 200, 1000, ours, BLOCK, 1152, lanes, second, 1 << 20),
                what);
            assertSame(theirs, ours, 4L * BLOCK, what);
          }
        }
      }
    }
  }

  @Test
  void tellsWhatCannotBeSplit() {
    MatrixUnit unit = unit();
    float[] unfit = {
      Float.NaN,
      Float.POSITIVE_INFINITY,
      Float.NEGATIVE_INFINITY,
      Float.MAX_VALUE,
      -Float.MAX_VALUE,
      Float.MIN_VALUE,
      -1e-40f,
      Math.nextDown(0x1p-103f),
      0x1p-126f,
      0x1p127f,
      Float.intBitsToFloat(0x7FFFFFFF),
      Float.intBitsToFloat(0xFF800001)
    };
    float[] fit = {0, -0f, Math.nextDown(0x1p127f), 0x1p-103f, -Math.nextUp(0x1p-103f), 1};
    try (Arena arena = Arena.ofConfined()) {
      long to = arena.allocate(BLOCK, 64).address();
      for (int place : new int[] {0, 15, 16, 31}) {
        for (int i = 0; i < unfit.length + fit.length; i++) {
          boolean is = i >= unfit.length;
          float x = is ? fit[i - unfit.length] : unfit[i];
          long from = arena.allocate(128, 64).address();
          Memory.putFloat(from + 4L * place, x);
          int other = place ^ 16;
          Memory.putFloat(from + 4L * other, 1.2345678f);
          String what = x + " at " + place;
          assertEquals(is, unit.split(1, 1, from, 64, 0, 0, to, 0, 1024, 16, 16, 0), what);
          assertEquals(1.2345678f, joined(to, other), what);
          assertEquals(is, EMULATED.split(1, 1, from, 64, 0, 0, to, 0, 1024, 16, 16, 0), what);
          assertEquals(1.2345678f, joined(to, other), what);
          if (!is) { // a lane that is not read does not count
            assertTrue(
                unit.split(1, 1, from, 64, 0, 0, to, 0, 1024, Math.min(16, place), 0, 0), what);
          }
        }
      }
    }
  }

  @Test
  void splitsExponentialsAsDefined() {
    MatrixUnit unit = unit();
    try (Arena arena = Arena.ofConfined()) {
      long from = floats(arena, 1 << 12, 3);
      for (int i = 0; i < 1 << 12; i++) { // some vanish, some nearly
        float x = 30 * Memory.getFloat(from + 4L * i);
        Memory.putFloat(from + 4L * i, Math.min(x, 20 - 0.001f * i % 120));
      }
      Memory.putFloat(from + 4L * 70, Float.NEGATIVE_INFINITY);
      Memory.putFloat(from + 4L * 71, -1e30f);
      Memory.putFloat(from + 4L * 72, Float.NaN);
      long shifts = arena.allocate(64, 64).address();
      for (int r = 0; r < 16; r++) {
        Memory.putFloat(shifts + 4L * r, 20 + r);
      }
      for (int rows : new int[] {1, 7, 16}) {
        for (int lanes : new int[] {0, 1, 9, 16}) {
          for (int second : new int[] {0, 5, 16}) {
            long[] to = new long[2];
            long[] sums = new long[2];
            MatrixUnit[] units = {EMULATED, unit};
            for (int i = 0; i < 2; i++) {
              to[i] = arena.allocate(3L * BLOCK, 64).address();
              sums[i] = floats(arena, 256, 5);
              units[i].exponentials(3, rows, from, 500, shifts, sums[i], to[i], lanes, second);
            }
            String what = rows + " rows, " + lanes + " and " + second + " lanes";
            assertSame(to[0], to[1], 3L * BLOCK, what);
            assertSame(sums[0], sums[1], 1024, what + ", sums");
            for (int i = 0; i < 2; i++) {
              sums[i] = floats(arena, 256, 5);
              units[i].halfExponentials(3, rows, from, 500, shifts, sums[i], to[i], lanes, second);
            }
            assertSame(to[0], to[1], 3L * 1024, what + ", rounded");
            assertSame(sums[0], sums[1], 1024, what + ", sums of those rounded");
          }
        }
      }
    }
  }

  @Test
  void splitsInTwoAsDefined() {
    MatrixUnit unit = unit();
    MatrixUnit[] units = {EMULATED, unit};
    try (Arena arena = Arena.ofConfined()) {
      long from = floats(arena, 1 << 12, 7);
      float[] special = {
        Float.NaN,
        Float.POSITIVE_INFINITY,
        Float.MIN_VALUE,
        -1e-40f,
        Float.MAX_VALUE,
        -0f,
        Float.intBitsToFloat(0x3f808000),
        Float.intBitsToFloat(0x3f818000),
        0x1p-126f
      };
      for (int i = 0; i < special.length; i++) {
        Memory.putFloat(from + 52L * i, special[i]);
      }
      for (int rows : new int[] {1, 7, 16}) {
        for (int lanes : new int[] {0, 1, 9, 16}) {
          for (int second : new int[] {0, 5, 16}) {
            long[] to = new long[4];
            for (int i = 0; i < 2; i++) {
              to[i] = arena.allocate(6L * 1024, 64).address();
              units[i].splitRows(3, rows, from, 64, 500, 128, to[i], 2048, 1024, lanes, second);
              to[2 + i] = arena.allocate(6L * 1024, 64).address();
              units[i].splitPairs(
                  3, rows, from, 100, 200, 64, to[2 + i], 1024, 3072, lanes, second);
            }
            String what = rows + " rows, " + lanes + " and " + second + " lanes";
            assertSame(to[0], to[1], 6L * 1024, what);
            assertSame(to[2], to[3], 6L * 1024, what + " of pairs");
          }
        }
      }
    }
  }

  /** The sum of the parts of an element of a row. */
  private static float joined(long row, int element) {
    float sum = 0;
    for (int part = 0; part < 3; part++) {
      long at = row + 1024L * part + 4L * (element % 16) + 2L * (element / 16);
      sum += Float.intBitsToFloat(Memory.getShort(at) << 16);
    }
    return sum;
  }

  @Test
  void multipliesAsDefined() {
    MatrixUnit unit = unit();
    for (int slabs : new int[] {1, 2, 5}) {
      for (int panels : new int[] {1, 3}) {
        for (int steps : new int[] {1, 2, 7}) {
          check(unit, slabs, panels, steps);
        }
      }
    }
  }

  /** Rows of A overlap and lie apart, parts and blocks at odd places, as images do. */
  private static void check(MatrixUnit unit, int slabs, int panels, int steps) {
    try (Arena arena = Arena.ofConfined()) {
      int rows = 100;
      long part = 64L * rows;
      long a = arena.allocate(3 * part, 64).address();
      unit.split(1, rows, floats(arena, 40 * rows, 1), 64, 160, 0, a, 0, part, 16, 16, 0);
      long b = arena.allocate(3 * part, 64).address();
      unit.split(1, rows, floats(arena, 40 * rows, 2), 64, 160, 0, b, 0, part, 16, 16, 0);
      long bias = floats(arena, 16 * panels, 3);
      long slabTable = arena.allocate(16L * (slabs + 1), 8).address();
      long stepTable = arena.allocate(16L * steps, 8).address();
      for (int i = 0; i < steps; i++) {
        Memory.putLong(stepTable + 16L * i, 64L * (3 * i));
        Memory.putLong(stepTable + 16L * i + 8, 64L * (5 * i + 1));
      }
      int row = 16 * panels + 5;
      for (long start : new long[] {0, MatrixUnit.ADD, bias}) {
        for (long rowA : new long[] {64, 128}) {
          long[] results = new long[2];
          for (int i = 0; i < 2; i++) {
            results[i] = floats(arena, 16 * row * slabs, 8);
            for (int slab = 0; slab <= slabs; slab++) {
              Memory.putLong(slabTable + 16L * slab, a + 64L * 7 * slab);
              Memory.putLong(slabTable + 16L * slab + 8, results[i] + 64L * row * slab);
            }
            (i == 0 ? EMULATED : unit)
                .multiply(
                    slabs, slabTable, steps, stepTable, rowA, part, panels, b, 64 * 11, part, start,
                    4 * row);
          }
          String what =
              slabs + " slabs, " + panels + " panels, " + steps + " steps, start " + start;
          assertSame(results[0], results[1], 64L * row * slabs, what);
        }
      }
    }
  }

  private static long halves(Arena arena, int n, long seed) {
    long at = arena.allocate(2L * n, 64).address();
    Random random = new Random(seed);
    for (int i = 0; i < n; i++) { // any bits, but few that are not finite
      int bits = random.nextInt();
      Memory.putShort(at + 2L * i, (short) ((bits & 0x7f80) == 0x7f80 ? bits & 0xbfff : bits));
    }
    return at;
  }

  @Test
  void rearrangesHalvesAsDefined() {
    MatrixUnit unit = unit();
    MatrixUnit[] units = {EMULATED, unit};
    try (Arena arena = Arena.ofConfined()) {
      int n = 1 << 13;
      long from = halves(arena, n, 1);
      for (int i = 0; i < 200; i++) { // infinities and NaN are copied like the rest
        Memory.putShort(from + 34L * i, (short) (0x7f80 | 0x8001 * (i & 1)));
      }
      for (int rows : new int[] {1, 7, 16}) {
        for (int lanes : new int[] {0, 1, 9, 15, 16}) {
          for (int second : new int[] {0, 5, 16}) {
            long[] to = new long[2];
            for (int i = 0; i < 2; i++) {
              to[i] = arena.allocate(3L * 2048, 64).address();
              long ahead = i * (1L << 20);
              units[i].pairs(3, rows, from, 78, 156, 32, to[i], 2048, lanes, second, ahead);
            }
            assertSame(to[0], to[1], 3L * 2048, rows + ", " + lanes + ", " + second);
          }
        }
        for (int lanes : new int[] {1, 16, 17, 31, 32}) {
          long[] to = new long[2];
          for (int i = 0; i < 2; i++) {
            to[i] = arena.allocate(3L * 1024, 64).address();
            units[i].rows(3, rows, from, 102, 64, to[i], 1024, lanes);
          }
          assertSame(to[0], to[1], 3L * 1024, rows + " rows of " + lanes);
        }
      }
      for (int lanes : new int[] {0, 1, 16, 17, 31, 32}) {
        long[] to = new long[2];
        for (int i = 0; i < 2; i++) {
          to[i] = arena.allocate(3L * 1088, 64).address();
          units[i].transpose(3, from, 102, 66, to[i], 1088, lanes);
        }
        assertSame(to[0], to[1], 3L * 1088, "transposed rows of " + lanes);
      }
    }
  }

  @Test
  void multipliesHalvesAsDefined() {
    MatrixUnit unit = unit();
    for (int slabs : new int[] {1, 2, 5}) {
      for (int panels : new int[] {1, 2, 3, 4}) {
        for (int steps : new int[] {1, 2, 7}) {
          checkHalves(unit, slabs, panels, steps);
        }
      }
    }
  }

  private static void checkHalves(MatrixUnit unit, int slabs, int panels, int steps) {
    try (Arena arena = Arena.ofConfined()) {
      long a = halves(arena, 1 << 14, 1);
      long b = halves(arena, 1 << 14, 2);
      long bias = floats(arena, 16 * panels, 3);
      long slabTable = arena.allocate(16L * (slabs + 1), 8).address();
      long stepTable = arena.allocate(16L * steps, 8).address();
      for (int i = 0; i < steps; i++) {
        Memory.putLong(stepTable + 16L * i, 62L * (3 * i));
        Memory.putLong(stepTable + 16L * i + 8, 64L * (5 * i + 1));
      }
      int row = 16 * panels + 5;
      for (long start : new long[] {0, MatrixUnit.ADD, bias}) {
        for (long rowA : new long[] {64, 130}) {
          long[] results = new long[2];
          for (int i = 0; i < 2; i++) {
            results[i] = floats(arena, 16 * row * slabs, 8);
            for (int slab = 0; slab <= slabs; slab++) {
              Memory.putLong(slabTable + 16L * slab, a + 64L * 7 * slab);
              Memory.putLong(slabTable + 16L * slab + 8, results[i] + 64L * row * slab);
            }
            (i == 0 ? EMULATED : unit)
                .multiplyHalves(
                    slabs, slabTable, steps, stepTable, rowA, panels, b, 64 * 11, start, 4 * row);
          }
          String what =
              slabs + " slabs, " + panels + " panels, " + steps + " steps, start " + start;
          assertSame(results[0], results[1], 64L * row * slabs, what);
        }
      }
    }
  }

  @Test
  void obeysTheSetting() {
    AssembledTile without = AssembledTile.of(VECTORS, null, "off");
    assumeTrue(without != null, "no machine code on this machine");
    assertNull(without.unit());
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> AssembledTile.of(VECTORS, null, "maybe"));
    assertEquals(
        "system property sfumato.matrix.unit must be on or off; got maybe", e.getMessage());
    e = assertThrows(IllegalArgumentException.class, () -> AssembledTile.of(VECTORS, "off", "on"));
    assertEquals(
        "system property sfumato.matrix.unit is on, but no machine code is made", e.getMessage());
    GemmTile narrow = Simd.scalar().gemmTile();
    assertThrows(IllegalArgumentException.class, () -> AssembledTile.of(narrow, null, "on"));
    assertFalse(Simd.scalar().name().contains("matrix unit"));
    unit();
    AssembledTile with = AssembledTile.of(VECTORS, null, "on");
    assertNotNull(with);
    assertNotNull(with.unit());
  }
}
