// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GemmTileTest {
  private static final List<GemmTile> TILES =
      NativeFloats.providers().stream().map(SimdProvider::gemmTile).toList();

  @Test
  void everyTileStoresAndAccumulates() {
    storesAndAccumulates(3);
  }

  /** Slabs and panels without gaps have loops of their own, as have rows at the pitch. */
  @Test
  void everyTileOfPackedOperands() {
    storesAndAccumulates(0);
  }

  private static void storesAndAccumulates(int gap) {
    int k = 11;
    for (GemmTile tile : TILES) {
      for (int rows : new TreeSet<>(List.of(1, 2, 4, tile.maxRows()))) {
        for (int vectors = 1; vectors <= tile.maxVectors(); vectors++) {
          int n = vectors * tile.lanes();
          for (long rowStride : new long[] {1, k + 2, tile.pitch()}) {
            try (Arena arena = Arena.ofConfined()) {
              long colStride = rowStride == 1 ? rows + gap : 1;
              Floats a = Floats.random(arena, rows * tile.pitch(), 1);
              Floats b = Floats.random(arena, k * (n + gap), 2);
              Floats c = Floats.filled(arena, rows * (n + 1), 3f);
              double[] expected = new double[rows * (n + 1)];
              for (int i = 0; i < rows; i++) {
                expected[i * (n + 1) + n] = 3;
                for (int j = 0; j < n; j++) {
                  for (int p = 0; p < k; p++) {
                    expected[i * (n + 1) + j] +=
                        (double) a.get(i * rowStride + p * colStride) * b.get(p * (n + gap) + j);
                  }
                }
              }
              String what =
                  tile.getClass().getSimpleName() + " " + rows + " x " + vectors + " " + rowStride;
              tile.store(
                  rows,
                  vectors,
                  k,
                  a.address(),
                  rowStride,
                  colStride,
                  b.address(),
                  n + gap,
                  c.address(),
                  n + 1);
              c.assertClose(expected, k, what);
              tile.accumulate(
                  rows,
                  vectors,
                  k,
                  a.address(),
                  rowStride,
                  colStride,
                  b.address(),
                  n + gap,
                  c.address(),
                  n + 1);
              for (int i = 0; i < rows * (n + 1); i++) {
                expected[i] *= i % (n + 1) < n ? 2 : 1;
              }
              c.assertClose(expected, k, what + " twice");
              Floats d = Floats.random(arena, n, 5);
              tile.sum(
                  rows,
                  vectors,
                  k,
                  a.address(),
                  rowStride,
                  colStride,
                  b.address(),
                  n + gap,
                  d.address(),
                  0,
                  c.address(),
                  n + 1);
              for (int i = 0; i < rows * (n + 1); i++) {
                int j = i % (n + 1);
                expected[i] = j < n ? expected[i] / 2 + d.get(j) : expected[i];
              }
              c.assertClose(expected, k, what + " and one row");
            }
          }
        }
      }
    }
  }

  /** Rows of A that lie two gigabytes apart, in a file with a hole. */
  @Test
  void rowsFarApart(@TempDir Path directory) throws IOException {
    long far = 1L << 29;
    Set<StandardOpenOption> options =
        Set.of(StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    try (Arena arena = Arena.ofConfined();
        FileChannel file = FileChannel.open(directory.resolve("sparse"), options)) {
      MemorySegment a = file.map(FileChannel.MapMode.READ_WRITE, 0, 4 * far + 64, arena);
      a.set(ValueLayout.JAVA_FLOAT, 0, 2f);
      a.set(ValueLayout.JAVA_FLOAT, 4 * far, 5f);
      for (GemmTile tile : TILES) {
        int n = tile.lanes();
        Floats b = Floats.random(arena, n, 2);
        Floats c = Floats.filled(arena, 2 * n, 3f);
        tile.store(2, 1, 1, a.address(), far, 1, b.address(), n, c.address(), n);
        for (int j = 0; j < n; j++) {
          assertEquals(2 * b.get(j), c.get(j), "first row");
          assertEquals(5 * b.get(j), c.get(n + j), "second row");
        }
        tile.accumulate(2, 1, 1, a.address(), far, 1, b.address(), n, c.address(), n);
        for (int j = 0; j < n; j++) {
          assertEquals(4 * b.get(j), c.get(j), "first row twice");
          assertEquals(10 * b.get(j), c.get(n + j), "second row twice");
        }
      }
    }
  }

  @Test
  void copiesAndAddsRowsOfAnyLength() {
    for (GemmTile tile : TILES) {
      for (int n : new int[] {0, 1, 7, 16, 33, 70}) {
        try (Arena arena = Arena.ofConfined()) {
          Floats from = Floats.random(arena, 5 * 80, 1);
          Floats to = Floats.filled(arena, 5 * 90, 1f);
          tile.copyRows(5, n, from.address(), 80, to.address(), 90);
          tile.addRows(5, n, from.address(), 80, to.address(), 90);
          for (int i = 0; i < 5 * 90; i++) {
            int column = i % 90;
            assertEquals(column < n ? 2 * from.get(i / 90 * 80 + column) : 1f, to.get(i));
          }
          to.assertGuard("rows");
        }
      }
    }
  }
}
