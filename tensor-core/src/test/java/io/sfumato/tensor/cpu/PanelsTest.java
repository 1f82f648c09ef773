// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

class PanelsTest {
  @Test
  void slabsHoldTheRowsOfEachGroupSideBySide() {
    for (SimdProvider provider : NativeFloats.productProviders()) {
      GemmTile tile = provider.gemmTile();
      for (int rows : new int[] {1, 5, 6, 17}) {
        for (int k : new int[] {0, 1, 15, 16, 17, 50}) {
          for (boolean alongK : new boolean[] {true, false}) {
            slabs(tile, rows, k, alongK);
          }
        }
      }
    }
  }

  @Test
  void columnsBecomeRows() {
    for (SimdProvider provider : NativeFloats.productProviders()) {
      GemmTile tile = provider.gemmTile();
      for (int columns : new int[] {1, 15, 16, 17, 50}) {
        for (int k : new int[] {0, 1, 15, 16, 17, 50}) {
          for (boolean alongK : new boolean[] {true, false}) {
            columns(tile, columns, k, alongK);
          }
        }
      }
    }
  }

  private static void columns(GemmTile tile, int columns, int k, boolean alongK) {
    long rowStride = alongK ? 1 : columns + 2;
    long colStride = alongK ? k + 3 : 1;
    int width = columns + 1;
    try (Arena arena = Arena.ofConfined()) {
      Floats from = Floats.random(arena, (columns + 2) * (k + 3), 1);
      Floats to = Floats.filled(arena, k * width + 1, 3f);
      Panels.transpose(
          tile, k, columns, 0.3f, from.address(), rowStride, colStride, to.address(), width);
      String what = tile.getClass().getSimpleName() + " " + columns + " x " + k + " " + alongK;
      for (int p = 0; p < k; p++) {
        for (int i = 0; i < columns; i++) {
          assertEquals(0.3f * from.get(p * rowStride + i * colStride), to.get(p * width + i), what);
        }
        assertEquals(3, to.get(p * width + columns), what + ": what lies between");
      }
      assertEquals(3, to.get((long) k * width), what + ": what lies behind");
    }
  }

  private static void slabs(GemmTile tile, int rows, int k, boolean alongK) {
    int height = tile.maxRows();
    long rowStride = alongK ? k + 3 : 1;
    long colStride = alongK ? 1 : rows + 2;
    try (Arena arena = Arena.ofConfined()) {
      Floats a = Floats.random(arena, (rows + 2) * (k + 3), 1);
      int groups = (rows + height - 1) / height;
      Floats slabs = Floats.filled(arena, groups * height * k + 1, 3f);
      Panels.packSlabs(tile, rows, k, a.address(), rowStride, colStride, slabs.address());
      String what = tile.getClass().getSimpleName() + " " + rows + " x " + k + " " + alongK;
      for (int r = 0; r < rows; r++) {
        for (int p = 0; p < k; p++) {
          long at = (long) r / height * height * k + (long) p * height + r % height;
          assertEquals(a.get(r * rowStride + p * colStride), slabs.get(at), what);
        }
      }
      assertEquals(3, slabs.get((long) groups * height * k), what + ": what lies behind");
    }
  }
}
