// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Rows for taps become columns, by vectors or not, and nothing is written behind them. */
class TapRowsTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 4, 8, 9, 10, 16, 25})
  void storesChannelAfterChannel(int taps) {
    for (GemmTile tile : new GemmTile[] {new ScalarGemmTile(), Simd.provider().gemmTile()}) {
      for (int n : new int[] {1, 15, 16, 17, 64, 83}) {
        int stride = n + 5;
        try (Arena arena = Arena.ofShared()) {
          Floats from = Floats.random(arena, taps * stride, 1);
          Floats to = Floats.filled(arena, taps * n, Float.NaN);
          TapRows.interleave(tile, taps, n, from.address(), stride, to.address());
          for (int i = 0; i < taps * n; i++) {
            assertEquals(from.get((long) i % taps * stride + i / taps), to.get(i));
          }
          to.assertGuard("the rows");
        }
      }
    }
  }
}
