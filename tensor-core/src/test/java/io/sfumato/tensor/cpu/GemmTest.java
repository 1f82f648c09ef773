// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class GemmTest {
  private static final List<GemmTile> TILES =
      NativeFloats.productProviders().stream().map(SimdProvider::gemmTile).toList();

  private final int threads = Parallel.threads();

  @AfterEach
  void restoreThreads() {
    Parallel.setThreads(threads);
  }

  /** How an operand lies in memory. */
  private enum Layout {
    ROWS,
    COLUMNS,
    PADDED_ROWS,
    SPREAD;

    Matrix matrix(long address, int rows, int columns) {
      long batch = (long) floats(rows, columns);
      return switch (this) {
        case ROWS -> new Matrix(address, columns, 1, batch);
        case COLUMNS -> new Matrix(address, 1, rows, batch);
        case PADDED_ROWS -> new Matrix(address, columns + 3, 1, batch);
        case SPREAD -> new Matrix(address, 2L * columns + 1, 2, batch);
      };
    }

    int floats(int rows, int columns) {
      return switch (this) {
        case ROWS, COLUMNS -> rows * columns;
        case PADDED_ROWS -> rows * (columns + 3);
        case SPREAD -> rows * (2 * columns + 1);
      };
    }
  }

  private static double at(Floats data, Matrix m, int batch, int row, int column) {
    long offset = batch * m.batchStride() + row * m.rowStride() + column * m.colStride();
    return data.get((m.address() - data.address()) / 4 + offset);
  }

  private static double[] naive(
      int batch, int m, int n, int k, Floats a, Matrix ma, Floats b, Matrix mb) {
    double[] c = new double[batch * m * n];
    for (int s = 0; s < batch; s++) {
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          double sum = 0;
          for (int p = 0; p < k; p++) {
            sum += at(a, ma, s, i, p) * at(b, mb, s, p, j);
          }
          c[(s * m + i) * n + j] = sum;
        }
      }
    }
    return c;
  }

  @ParameterizedTest
  @CsvSource({
    "1,1,1",
    "1,16,7",
    "2,3,5",
    "3,24,9",
    "4,64,8",
    "5,65,33",
    "6,48,17",
    "7,100,40",
    "8,32,64",
    "9,96,3",
    "13,130,21",
    "16,16,16",
    "17,63,400",
    "31,15,129",
    "64,80,70",
    "150,70,30",
    "8,96,1100",
    "3,64,2050",
    "96,8,1500",
    "80,3,1025",
    "16,64,1024",
    "23,256,37",
    "17,300,1030",
    "9,321,16",
    "1,4,128",
    "2,33,300",
    "3,67,131"
  })
  void agreesWithTheDefinitionForEveryLayout(int m, int n, int k) {
    for (GemmTile tile : TILES) {
      for (Layout la : Layout.values()) {
        for (Layout lb : Layout.values()) {
          try (Arena arena = Arena.ofConfined()) {
            Floats a = Floats.random(arena, la.floats(m, k), 1);
            Floats b = Floats.random(arena, lb.floats(k, n), 2);
            Matrix ma = la.matrix(a.address(), m, k);
            Matrix mb = lb.matrix(b.address(), k, n);
            double[] expected = naive(1, m, n, k, a, ma, b, mb);
            Floats c = Floats.filled(arena, m * n, Float.NaN);
            Matrix mc = Matrix.rowMajor(c.address(), n);
            Gemm.multiply(tile, 1, m, n, k, ma, mb, mc, false, 0);
            c.assertClose(expected, k, la + " x " + lb);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"29,false,ROWS", "29,true,ROWS", "3,false,COLUMNS", "3,true,COLUMNS"})
  void addsToTheResultAndAddsTheBias(int m, boolean accumulate, Layout layout) {
    int n = 75;
    int k = 450;
    int ldc = n + 5;
    for (GemmTile tile : TILES) {
      try (Arena arena = Arena.ofConfined()) {
        Floats a = Floats.random(arena, m * k, 1);
        Floats b = Floats.random(arena, k * n, 2);
        Floats bias = Floats.random(arena, n, 3);
        Floats c = Floats.random(arena, m * ldc, 4);
        Matrix ma = Matrix.rowMajor(a.address(), k);
        Matrix mb = layout.matrix(b.address(), k, n);
        double[] product = naive(1, m, n, k, a, ma, b, mb);
        double[] expected = new double[m * ldc];
        for (int i = 0; i < m; i++) {
          for (int j = 0; j < ldc; j++) {
            double old = c.get(i * ldc + j);
            double sum = j < n ? product[i * n + j] + bias.get(j) + (accumulate ? old : 0) : old;
            expected[i * ldc + j] = sum;
          }
        }
        Matrix mc = Matrix.rowMajor(c.address(), ldc);
        Gemm.multiply(tile, 1, m, n, k, ma, mb, mc, accumulate, bias.address());
        c.assertClose(expected, k, tile.getClass().getSimpleName());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void addsUpSeveralProductsWithPanelsPackedBefore(boolean accumulate) {
    int m = 53;
    int n = 70;
    int[] depths = {450, 9};
    GemmTile tile = Simd.provider().gemmTile();
    try (Arena arena = Arena.ofConfined()) {
      Floats bias = Floats.random(arena, n, 3);
      Floats c = Floats.random(arena, m * n, 4);
      double[] expected = new double[m * n];
      for (int i = 0; i < m * n; i++) {
        expected[i] = bias.get(i % n) + (accumulate ? c.get(i) : 0);
      }
      List<Gemm.Term> terms = new ArrayList<>();
      for (int k : depths) {
        Floats a = Floats.random(arena, m * k, k);
        Floats b = Floats.random(arena, k * n, 1 + k);
        Matrix ma = Matrix.rowMajor(a.address(), m).transposed();
        Matrix mb = Matrix.rowMajor(b.address(), k).transposed();
        double[] product = naive(1, m, n, k, a, ma, b, mb);
        for (int i = 0; i < m * n; i++) {
          expected[i] += product[i];
        }
        long panels = 0;
        if (terms.isEmpty()) {
          Floats packed = Floats.zeros(arena, Math.toIntExact(Panels.floats(tile, k, n)) + 64);
          panels = (packed.address() + 63) & -64;
          Panels.packAll(tile, k, n, mb, panels);
        }
        terms.add(new Gemm.Term(k, ma, mb, panels));
      }
      Matrix mc = Matrix.rowMajor(c.address(), n);
      Gemm.multiplySum(m, n, terms, mc, accumulate, bias.address());
      c.assertClose(expected, 459, "sum of products");
    }
  }

  @Test
  void treatsEmptySizesAsEmptySums() {
    try (Arena arena = Arena.ofConfined()) {
      Floats bias = Floats.random(arena, 5, 1);
      for (boolean accumulate : new boolean[] {false, true}) {
        for (boolean withBias : new boolean[] {false, true}) {
          Floats c = Floats.filled(arena, 15, 2f);
          Matrix mc = Matrix.rowMajor(c.address(), 5);
          Matrix none = new Matrix(0, 0, 1, 0);
          Gemm.multiply(1, 3, 5, 0, none, none, mc, accumulate, withBias ? bias.address() : 0);
          double[] expected = new double[15];
          for (int i = 0; i < 15; i++) {
            expected[i] = (accumulate ? 2 : 0) + (withBias ? bias.get(i % 5) : 0);
          }
          c.assertClose(expected, 0, "k = 0");
          Gemm.multiply(1, 0, 5, 4, none, none, mc, false, 0);
          Gemm.multiply(1, 3, 0, 4, none, none, mc, false, 0);
          Gemm.multiply(0, 3, 5, 4, none, none, mc, false, 0);
          c.assertClose(expected, 0, "no rows, columns or products");
        }
      }
    }
  }

  @Test
  void batchesWithAndWithoutBroadcast() {
    int m = 21;
    int n = 37;
    int k = 19;
    for (GemmTile tile : TILES) {
      for (int batch : new int[] {2, 5, 40}) {
        for (Layout la : new Layout[] {Layout.ROWS, Layout.COLUMNS}) {
          for (Layout lb : new Layout[] {Layout.ROWS, Layout.COLUMNS}) {
            for (int broadcast = 0; broadcast < 4; broadcast++) {
              try (Arena arena = Arena.ofConfined()) {
                Floats a = Floats.random(arena, batch * m * k, 1);
                Floats b = Floats.random(arena, batch * k * n, 2);
                Floats c = Floats.filled(arena, batch * m * n, Float.NaN);
                Matrix ma = la.matrix(a.address(), m, k);
                Matrix mb = lb.matrix(b.address(), k, n);
                if ((broadcast & 1) != 0) {
                  ma = new Matrix(ma.address(), ma.rowStride(), ma.colStride(), 0);
                }
                if ((broadcast & 2) != 0) {
                  mb = new Matrix(mb.address(), mb.rowStride(), mb.colStride(), 0);
                }
                double[] expected = naive(batch, m, n, k, a, ma, b, mb);
                Matrix mc = Matrix.stack(c.address(), m, n);
                Gemm.multiply(tile, batch, m, n, k, ma, mb, mc, false, 0);
                c.assertClose(expected, k, batch + " of " + la + " x " + lb + ", " + broadcast);
              }
            }
          }
        }
      }
    }
  }

  @Test
  void givesTheSameBitsForAnyNumberOfThreads() {
    int m = 157;
    int n = 203;
    int k = 530;
    try (Arena arena = Arena.ofShared()) {
      Floats a = Floats.random(arena, 6 * m * k, 1);
      Floats b = Floats.random(arena, 6 * k * n, 2);
      for (int batch : new int[] {1, 3, 6}) {
        for (Layout la : new Layout[] {Layout.ROWS, Layout.COLUMNS}) {
          Matrix ma = la.matrix(a.address(), m, k);
          Matrix mb = Layout.COLUMNS.matrix(b.address(), k, n);
          List<float[]> results = new ArrayList<>();
          for (int count = 1; count <= 3; count++) {
            Parallel.setThreads(count);
            Floats c = Floats.zeros(arena, batch * m * n);
            Matrix mc = Matrix.stack(c.address(), m, n);
            Gemm.multiply(batch, m, n, k, ma, mb, mc, false, 0);
            c.assertGuard("gemm");
            results.add(c.toArray());
          }
          assertArrayEquals(results.get(0), results.get(1), "2 threads");
          assertArrayEquals(results.get(0), results.get(2), "3 threads");
        }
      }
    }
  }

  @Test
  void servesSeveralCallersAtOnce() throws Exception {
    Parallel.setThreads(2);
    int size = 150;
    try (Arena arena = Arena.ofShared();
        ExecutorService callers = Executors.newFixedThreadPool(4)) {
      List<Future<Boolean>> futures = new ArrayList<>();
      for (int caller = 0; caller < 4; caller++) {
        Floats a = Floats.random(arena, size * size, caller);
        Floats b = Floats.random(arena, size * size, 10 + caller);
        Floats c = Floats.zeros(arena, size * size);
        Matrix ma = Matrix.rowMajor(a.address(), size).transposed();
        Matrix mb = Matrix.rowMajor(b.address(), size).transposed();
        Matrix mc = Matrix.rowMajor(c.address(), size);
        Gemm.multiply(size, size, size, ma, mb, mc, false);
        float[] alone = c.toArray();
        Callable<Boolean> work =
            () -> {
              boolean same = true;
              for (int i = 0; i < 50; i++) {
                Gemm.multiply(size, size, size, ma, mb, mc, false);
                same &= java.util.Arrays.equals(alone, c.toArray());
              }
              return same;
            };
        futures.add(callers.submit(work));
      }
      for (Future<Boolean> future : futures) {
        assertTrue(future.get());
      }
    }
  }

  @Test
  void cutsProductsThatExceedTheWorkSpace() {
    int m = 9;
    int n = 700;
    int k = 16_000;
    try (Arena arena = Arena.ofConfined()) {
      Floats a = Floats.random(arena, m * k, 1);
      Floats b = Floats.random(arena, n * k, 2);
      Floats c = Floats.filled(arena, m * n, Float.NaN);
      Matrix ma = Matrix.rowMajor(a.address(), m).transposed();
      Matrix mb = Matrix.rowMajor(b.address(), k).transposed();
      Gemm.multiply(m, n, k, ma, mb, Matrix.rowMajor(c.address(), n), false);
      c.assertClose(naive(1, m, n, k, a, ma, b, mb), k, "n in parts");
      Floats d = Floats.filled(arena, m * n, Float.NaN);
      Gemm.multiply(
          n, m, k, mb.transposed(), ma.transposed(), Matrix.rowMajor(d.address(), m), false);
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          assertEquals(c.get(i * n + j), d.get(j * m + i), "the transposed product");
        }
      }
    }
  }

  @Test
  void rejectsWhatItCannotDo() {
    Matrix fine = Matrix.rowMajor(0, 4);
    assertThrows(
        IllegalArgumentException.class, () -> Gemm.multiply(-1, 4, 4, fine, fine, fine, false));
    assertThrows(
        IllegalArgumentException.class,
        () -> Gemm.multiply(4, 4, 4, fine, fine, fine.transposed(), false));
  }
}
