// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.tensor.cpu.GemmTile;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.machine.TileCode;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Machine code against the tiles over the Vector API, bit for bit. */
class AssembledTileTest {
  private static final VectorGemmTile VECTORS = VectorGemmTile.of(null);

  private static GemmTile assembled() {
    GemmTile tile = AssembledTile.of(VECTORS, null, null);
    assumeTrue(tile != null, "no machine code on this machine");
    return tile;
  }

  /** All sizes, with sums shorter and longer than what is prefetched and unrolled. */
  @Test
  void givesTheBitsOfVectorTiles() {
    GemmTile tile = assembled();
    for (int rows = 1; rows <= tile.maxRows(); rows++) {
      for (int vectors = 1; vectors <= tile.maxVectors(); vectors++) {
        for (int k : new int[] {0, 1, 2, 3, 39, 40, 41, 42, 43, 101}) {
          for (long rowStride : new long[] {1, 103, 272, -103}) {
            check(tile, rows, vectors, k, rowStride, rowStride == 1 ? 17 : 1);
            check(tile, rows, vectors, k, rowStride, rowStride == 1 ? rows : 2);
          }
        }
      }
    }
  }

  private static void check(
      GemmTile tile, int rows, int vectors, int k, long rowStride, long colStride) {
    int n = vectors * tile.lanes();
    int ldb = n + 5;
    int ldc = n + 3;
    try (Arena arena = Arena.ofConfined()) {
      long reach = (tile.maxRows() - 1) * Math.abs(rowStride) + 102 * colStride;
      long memory = floats(arena, reach + 1, 1);
      long a = rowStride > 0 ? memory : memory - 4 * (tile.maxRows() - 1) * rowStride;
      long b = floats(arena, (long) (k + 1) * ldb, 2);
      long d = floats(arena, (long) rows * n, 3);
      long ours = floats(arena, (long) rows * ldc, 4);
      long theirs = floats(arena, (long) rows * ldc, 4);
      String what =
          rows + " x " + vectors + ", k " + k + ", strides " + rowStride + " " + colStride;
      tile.store(rows, vectors, k, a, rowStride, colStride, b, ldb, ours, ldc);
      for (int r = 0; r < rows; r++) {
        long row = a + 4 * r * rowStride;
        VECTORS.store(1, vectors, k, row, 0, colStride, b, ldb, theirs + 4L * r * ldc, ldc);
      }
      assertSame(theirs, ours, rows * ldc, what);
      for (int ldd : new int[] {n, 0}) {
        tile.sum(rows, vectors, k, a, rowStride, colStride, b, ldb, d, ldd, ours, ldc);
        for (int r = 0; r < rows; r++) {
          long row = a + 4 * r * rowStride;
          long to = theirs + 4L * r * ldc;
          VECTORS.sum(1, vectors, k, row, 0, colStride, b, ldb, d + 4L * r * ldd, 0, to, ldc);
        }
        assertSame(theirs, ours, rows * ldc, what + ", with rows of D " + ldd + " apart");
      }
      tile.accumulate(rows, vectors, k, a, rowStride, colStride, b, ldb, ours, ldc);
      for (int r = 0; r < rows; r++) {
        long row = a + 4 * r * rowStride;
        VECTORS.accumulate(1, vectors, k, row, 0, colStride, b, ldb, theirs + 4L * r * ldc, ldc);
      }
      assertSame(theirs, ours, rows * ldc, what + ", added");
    }
  }

  private static long floats(Arena arena, long n, long seed) {
    long at = arena.allocate(4 * n, 4).address();
    Random random = new Random(seed);
    for (long i = 0; i < n; i++) {
      Memory.putFloat(at + 4 * i, (float) random.nextGaussian());
    }
    return at;
  }

  private static void assertSame(long expected, long actual, int n, String what) {
    for (int i = 0; i < n; i++) {
      int e = Memory.getInt(expected + 4L * i);
      int a = Memory.getInt(actual + 4L * i);
      if (e != a) {
        assertEquals(Float.intBitsToFloat(e), Float.intBitsToFloat(a), what + ": element " + i);
      }
    }
  }

  @Test
  void rowsAreSharedOutEvenly() {
    GemmTile tile = assembled();
    for (int rows = 1; rows < 100; rows++) {
      int tiles = 0;
      for (int left = rows; left > 0; tiles++) {
        int next = tile.nextRows(left);
        assertEquals(true, next >= Math.min(rows, 7) && next <= 14, rows + ": " + next);
        left -= next;
      }
      assertEquals((rows + 13) / 14, tiles, rows + " rows");
    }
  }

  @Test
  void obeysTheSetting() {
    assertNull(AssembledTile.of(VECTORS, "off", null));
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> AssembledTile.of(VECTORS, "maybe", null));
    assertEquals(
        "system property sfumato.machine.code must be on or off; got maybe", e.getMessage());
    GemmTile narrow = Simd.scalar().gemmTile();
    assertNull(AssembledTile.of(narrow, null, null));
    e = assertThrows(IllegalArgumentException.class, () -> AssembledTile.of(narrow, "on", null));
    assertEquals(
        "system property sfumato.machine.code is on, but no code can be made: it is made on Linux,"
            + " for x86-64 with AVX-512",
        e.getMessage());
    assembled();
    assertNotNull(AssembledTile.of(VECTORS, "on", null));
  }

  @Test
  void noCodeForOtherTiles() {
    assertThrows(IllegalArgumentException.class, () -> TileCode.of(15, 1, true, true));
    assertThrows(IllegalArgumentException.class, () -> TileCode.of(0, 1, true, true));
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> TileCode.of(14, 3, true, true));
    assertEquals("no tile of 14 rows by 3 vectors", e.getMessage());
  }
}
