// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Reductions and conversions of both providers. */
class ReduceAndCastLoopsTest {
  @AfterEach
  void release() {
    NativeFloats.releaseAll();
  }

  @Test
  void reductionsFollowDoublePrecision() {
    for (SimdProvider provider : NativeFloats.providers()) {
      ReduceLoops loops = provider.loops().reduce();
      for (int n : ElementwiseLoopsTest.SIZES) {
        NativeFloats a = NativeFloats.random(n, n);
        NativeFloats b = NativeFloats.random(n, n + 1);
        double sum = 0;
        double squares = 0;
        double dot = 0;
        float max = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < n; i++) {
          sum += a.get(i);
          squares += (double) a.get(i) * a.get(i);
          dot += (double) a.get(i) * b.get(i);
          max = Math.max(max, a.get(i));
        }
        double limit = 1e-6 * Math.max(1, Math.sqrt(n));
        assertEquals(sum, loops.sum(a.address, n), limit);
        assertEquals(squares, loops.sumOfSquares(a.address, n), 2e-6 * Math.max(1, squares));
        assertEquals(dot, loops.dot(a.address, b.address, n), limit);
        assertEquals(max, loops.max(a.address, n));
        if (n > 0) {
          a.set(n - 1, Float.NaN);
          assertTrue(Float.isNaN(loops.max(a.address, n)));
        }
      }
    }
  }

  @Test
  void dotsAreThoseOfAllPairsOfRows() {
    for (SimdProvider provider : NativeFloats.providers()) {
      ReduceLoops loops = provider.loops().reduce();
      for (int n : ElementwiseLoopsTest.SIZES) {
        NativeFloats a = NativeFloats.random(2 * (n + 3), n);
        NativeFloats b = NativeFloats.random(4 * (n + 1), n + 1);
        double[] out = new double[ReduceLoops.DOT_ROWS * ReduceLoops.DOT_COLUMNS];
        loops.dots(a.address, 4L * (n + 3), b.address, 4L * (n + 1), n, out);
        for (int i = 0; i < out.length; i++) {
          double dot = 0;
          for (int p = 0; p < n; p++) {
            dot += (double) a.get(i / 4 * (n + 3) + p) * b.get(i % 4 * (n + 1) + p);
          }
          assertEquals(dot, out[i], 1e-6 * Math.max(1, Math.sqrt(n)));
        }
      }
    }
  }

  @Test
  void firstAtLeastFindsTheFirst() {
    for (SimdProvider provider : NativeFloats.providers()) {
      ReduceLoops loops = provider.loops().reduce();
      for (int n : ElementwiseLoopsTest.SIZES) {
        NativeFloats a = NativeFloats.random(n, n);
        for (int from : new int[] {0, n / 3, n}) {
          for (float bound : new float[] {-10, 0.5f, 1.5f, 10}) {
            int i = from;
            while (i < n && a.get(i) < bound) {
              i++;
            }
            assertEquals(i, loops.firstAtLeast(a.address, from, n, bound));
          }
          assertEquals(n, loops.firstAtLeast(a.address, from, n, Float.NaN));
        }
      }
    }
  }

  @Test
  void columnSumsAddEveryRow() {
    for (SimdProvider provider : NativeFloats.providers()) {
      for (int n : new int[] {1, 7, 16, 40, 100, 133}) {
        for (int rows : new int[] {0, 1, 5, 70}) {
          NativeFloats x = NativeFloats.random(rows * n, n);
          NativeFloats out = NativeFloats.random(n, 9);
          double[] e = new double[n];
          for (int j = 0; j < n; j++) {
            e[j] = out.get(j);
            for (int r = 0; r < rows; r++) {
              e[j] += x.get(r * n + j);
            }
          }
          provider.loops().reduce().addColumns(x.address, out.address, rows, n);
          out.check(e, 1e-6, 10, "addColumns");
          double[] totals = new double[n + 3];
          provider.loops().reduce().columnTotals(x.address, rows, n, totals, 2);
          for (int j = 0; j < n; j++) {
            assertEquals(column(x, rows, n, j), totals[j + 2], "columnTotals");
          }
          assertEquals(0, totals[1] + totals[n + 2], "beside columnTotals");
        }
      }
    }
    NativeFloats x = NativeFloats.random(1000 * 33, 1);
    NativeFloats out = new NativeFloats(33);
    Reductions.columnSums(x.address, out.address, 1000, 33);
    double[] e = new double[33];
    for (int i = 0; i < x.n; i++) {
      e[i % 33] += x.get(i);
    }
    out.check(e, 2e-6, 30, "columnSums");
    Reductions.columnSums(x.address, out.address, 0, 33);
    out.check(new double[33], 0, 0, "columnSums of nothing");
    NativeFloats rowSums = new NativeFloats(1000);
    Reductions.rowSums(x.address, rowSums.address, 1000, 33);
    NativeFloats rowMax = new NativeFloats(1000);
    Reductions.rowMax(x.address, rowMax.address, 1000, 33);
    for (int r = 0; r < 1000; r++) {
      double sum = 0;
      float max = Float.NEGATIVE_INFINITY;
      for (int j = 0; j < 33; j++) {
        sum += x.get(r * 33 + j);
        max = Math.max(max, x.get(r * 33 + j));
      }
      assertEquals(sum, rowSums.get(r), 1e-5);
      assertEquals(max, rowMax.get(r));
    }
  }

  @Test
  void float16RoundTripsEveryPattern() {
    int n = 1 << 16;
    for (SimdProvider provider : NativeFloats.providers()) {
      CastLoops loops = provider.loops().casts();
      NativeFloats halves = new NativeFloats(n / 2);
      NativeFloats wide = new NativeFloats(n);
      NativeFloats back = new NativeFloats(n / 2);
      for (int i = 0; i < n; i++) {
        Memory.putShort(halves.address + i * 2L, (short) i);
      }
      loops.float16ToFloat(halves.address, wide.address, n);
      loops.floatToFloat16(wide.address, back.address, n);
      for (int i = 0; i < n; i++) {
        float expected = Float.float16ToFloat((short) i);
        if (Float.isNaN(expected)) {
          assertTrue(Float.isNaN(wide.get(i)));
          short h = Memory.getShort(back.address + i * 2L);
          assertTrue(Float.isNaN(Float.float16ToFloat(h)));
        } else {
          assertEquals(Float.floatToRawIntBits(expected), Float.floatToRawIntBits(wide.get(i)));
          assertEquals((short) i, Memory.getShort(back.address + i * 2L));
        }
      }
    }
  }

  @Test
  void narrowingRoundsToNearestEven() {
    int n = 40_003;
    NativeFloats x = new NativeFloats(n);
    Random random = new Random(4);
    for (int i = 0; i < n; i++) {
      int bits = random.nextInt();
      if (i % 3 == 0) {
        bits = bits & 0xffff0000 | 0x8000; // halfway between two bfloat16
      } else if (i % 3 == 1) {
        bits = 0x33000000 + bits % 0x0f000000 & 0xfffff000 | bits & 0x80000000; // near binary16
      }
      x.set(i, Float.intBitsToFloat(bits));
    }
    for (SimdProvider provider : NativeFloats.providers()) {
      for (int size : new int[] {0, 1, 7, 15, 16, 17, 33, n}) {
        NativeFloats b = new NativeFloats((size + 1) / 2);
        provider.loops().casts().floatToBfloat16(x.address, b.address, size);
        b.checkGuards("bf16");
        NativeFloats h = new NativeFloats((size + 1) / 2);
        provider.loops().casts().floatToFloat16(x.address, h.address, size);
        h.checkGuards("f16");
        NativeFloats wide = new NativeFloats(size);
        provider.loops().casts().bfloat16ToFloat(b.address, wide.address, size);
        for (int i = 0; i < size; i++) {
          float v = x.get(i);
          float half = Float.float16ToFloat(Memory.getShort(h.address + i * 2L));
          if (Float.isNaN(v)) {
            assertTrue(Float.isNaN(wide.get(i)) && Float.isNaN(half));
            continue;
          }
          assertEquals(Float.floatToFloat16(v), Memory.getShort(h.address + i * 2L), "f16 " + v);
          assertEquals(nearestBfloat16(v), wide.get(i), "bf16 of " + v);
        }
      }
    }
  }

  private static float nearestBfloat16(float v) {
    if (Float.isInfinite(v)) {
      return v;
    }
    int low = Float.floatToRawIntBits(v) & 0xffff0000;
    float a = Float.intBitsToFloat(low);
    float b = Float.intBitsToFloat(low + 0x10000);
    double up = Float.isInfinite(b) ? Math.copySign(0x1p128, v) : b;
    double toA = Math.abs((double) v - a);
    double toB = Math.abs(up - v);
    boolean lower = toA < toB || toA == toB && (low >>> 16 & 1) == 0;
    return lower ? a : b;
  }

  /** The sum of a column, row after row. */
  private static double column(NativeFloats x, int rows, int n, int j) {
    double sum = 0;
    for (int r = 0; r < rows; r++) {
      sum += x.get(r * n + j);
    }
    return sum;
  }
}
