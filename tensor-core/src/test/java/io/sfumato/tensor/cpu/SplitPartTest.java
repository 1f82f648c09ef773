// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Products on a matrix unit, an emulated one, for this processor may have none. */
class SplitPartTest {
  private static final GemmTile TILE = Simd.provider().gemmTile();
  private static final MatrixUnit UNIT = new EmulatedUnit();

  /** Half a rounding of f32. */
  private static final double ULP = 0x1p-24;

  private final int threads = Parallel.threads();

  @AfterEach
  void restoreThreads() {
    Parallel.setThreads(threads);
  }

  private static void multiply(
      int batch, int m, int n, List<Term> terms, Matrix c, boolean add, long bias) {
    new GemmBlock(TILE, new GemmFormat.Split(TILE, UNIT), batch, m, n, terms, c, add, bias)
        .run(Parallel.threads());
  }

  /** An operand [rows, columns] in one of the ways it may lie in memory. */
  private static Matrix operand(
      Arena arena, int layout, int batch, int rows, int columns, long seed) {
    int stride = layout == 0 ? columns : layout == 1 ? rows : 2 * columns + 1;
    int floats = layout == 1 ? rows * columns : rows * stride;
    long at = Floats.random(arena, batch * floats, seed).address();
    return switch (layout) {
      case 0 -> new Matrix(at, stride, 1, floats);
      case 1 -> new Matrix(at, 1, stride, floats);
      default -> new Matrix(at, stride, 2, floats);
    };
  }

  private static float at(Matrix m, int batch, int row, int column) {
    return Memory.getFloat(m.at(row, column, batch).address());
  }

  private static void check(
      int batch, int m, int n, List<Term> terms, Matrix c, float[] before, long bias, String what) {
    for (int s = 0; s < batch; s++) {
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          double sum = before[(s * m + i) * n + j];
          double sizes = Math.abs(sum);
          if (bias != 0) {
            sum += Memory.getFloat(bias + 4L * j);
            sizes += Math.abs(Memory.getFloat(bias + 4L * j));
          }
          for (Term term : terms) {
            for (int p = 0; p < term.k(); p++) {
              double product = (double) at(term.a(), s, i, p) * at(term.b(), s, p, j);
              sum += product;
              sizes += Math.abs(product);
            }
          }
          assertEquals(sum, at(c, s, i, j), 8 * ULP * sizes, what + ": " + i + ", " + j);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "1,1,1",
    "16,16,32",
    "17,15,31",
    "5,40,33",
    "33,16,300",
    "16,50,257",
    "40,33,513",
    "300,17,16"
  })
  void agreesWithTheDefinitionForEveryLayout(int m, int n, int k) {
    for (int layout = 0; layout < 9; layout++) {
      for (int form = 0; form < 3; form++) {
        try (Arena arena = Arena.ofConfined()) {
          Matrix a = operand(arena, layout % 3, 1, m, k, 1);
          Matrix b = operand(arena, layout / 3, 1, k, n, 2);
          Floats result = Floats.random(arena, m * n, 3);
          boolean add = form == 1;
          float[] before = add ? result.toArray() : new float[m * n];
          long bias = form == 2 ? Floats.random(arena, n, 4).address() : 0;
          Matrix c = Matrix.rowMajor(result.address(), n);
          List<Term> terms = List.of(new Term(k, a, b));
          multiply(1, m, n, terms, c, add, bias);
          check(1, m, n, terms, c, before, bias, "layouts " + layout + ", form " + form);
          result.assertGuard("the product");
        }
      }
    }
  }

  @Test
  void sumsOfProductsAndBatches() {
    try (Arena arena = Arena.ofConfined()) {
      for (boolean add : new boolean[] {false, true}) {
        Matrix shared = operand(arena, 1, 1, 70, 21, 5);
        Matrix repeated = new Matrix(shared.address(), shared.rowStride(), shared.colStride(), 0);
        List<Term> terms = List.of(new Term(70, operand(arena, 0, 3, 35, 70, 4), repeated));
        Floats result = Floats.random(arena, 3 * 35 * 21, 6);
        float[] before = add ? result.toArray() : new float[3 * 35 * 21];
        Matrix c = Matrix.stack(result.address(), 35, 21);
        long bias = Floats.random(arena, 21, 7).address();
        multiply(3, 35, 21, terms, c, add, bias);
        check(3, 35, 21, terms, c, before, bias, "one B for all");
        terms = List.of(new Term(70, terms.getFirst().a(), operand(arena, 0, 3, 70, 21, 8)));
        before = add ? result.toArray() : before;
        multiply(3, 35, 21, terms, c, add, 0);
        check(3, 35, 21, terms, c, before, 0, "a B for each");
      }
      List<Term> two =
          List.of(
              new Term(40, operand(arena, 0, 1, 20, 40, 9), operand(arena, 1, 1, 40, 30, 10)),
              new Term(300, operand(arena, 1, 1, 20, 300, 11), operand(arena, 0, 1, 300, 30, 12)));
      Floats result = Floats.zeros(arena, 20 * 30);
      Matrix c = Matrix.rowMajor(result.address(), 30);
      multiply(1, 20, 30, two, c, false, 0);
      check(1, 20, 30, two, c, new float[600], 0, "a sum of two");
    }
  }

  @ParameterizedTest
  @CsvSource({"600,70,520", "50,275,40"})
  void packedPanelsAndThreadsGiveTheSameBits(int m, int n, int k) {
    try (Arena arena = Arena.ofConfined()) {
      Matrix a = operand(arena, 0, 1, m, k, 1);
      Matrix b = operand(arena, 1, 1, k, n, 2);
      Floats first = Floats.zeros(arena, m * n);
      Parallel.setThreads(1);
      multiply(1, m, n, List.of(new Term(k, a, b)), Matrix.rowMajor(first.address(), n), false, 0);
      long panels = arena.allocate(SplitOperands.allBytes(k, n), 64).address();
      SplitOperands.panels(TILE, UNIT, k, n, 0, SplitOperands.count(n), b, panels);
      Parallel.setThreads(2);
      for (long packed : new long[] {0, panels}) {
        Term term = new Term(k, a, b, packed, GemmFormat.Kind.SPLIT);
        Floats second = Floats.zeros(arena, m * n);
        multiply(1, m, n, List.of(term), Matrix.rowMajor(second.address(), n), false, 0);
        assertArrayEquals(first.toArray(), second.toArray());
        Floats part = Floats.zeros(arena, m * (n - 32));
        multiply(
            1,
            m,
            n - 32,
            List.of(term.at(0, 32, 0)),
            Matrix.rowMajor(part.address(), n - 32),
            false,
            0);
        for (int i = 0; i < m * (n - 32); i++) {
          assertEquals(first.get(i / (n - 32) * n + 32 + i % (n - 32)), part.get(i));
        }
      }
    }
  }

  /** What cannot be split is multiplied by tiles, with the rest of its slab or panel. */
  @ParameterizedTest
  @ValueSource(
      floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.MAX_VALUE, 1e-38f, 1e-33f, -1e-42f})
  void valuesWithoutThreeParts(float x) {
    int m = 50;
    int n = 40;
    int k = 300;
    for (boolean left : new boolean[] {true, false}) {
      for (int layout = 0; layout < 2; layout++) {
        try (Arena arena = Arena.ofConfined()) {
          Matrix a = operand(arena, layout, 1, m, k, 1);
          Matrix b = operand(arena, layout, 1, k, n, 2);
          Memory.putFloat((left ? a.at(20, 270, 0) : b.at(270, 20, 0)).address(), x);
          Floats tiles = Floats.zeros(arena, m * n);
          Gemm.multiply(
              new SplitTile(TILE), 1, m, n, k, a, b, Matrix.rowMajor(tiles.address(), n), false, 0);
          Floats ours = Floats.zeros(arena, m * n);
          Matrix c = Matrix.rowMajor(ours.address(), n);
          multiply(1, m, n, List.of(new Term(k, a, b)), c, false, 0);
          for (int i = 0; i < m * n; i++) {
            float expected = tiles.get(i);
            boolean met = left ? i / n == 20 : i % n == 20;
            double limit = (met ? Math.abs(expected) * 1e-6 : 0) + 2 * k * ULP;
            if (Float.compare(expected, ours.get(i)) != 0) {
              assertEquals(expected, ours.get(i), limit, x + ", " + left + ": element " + i);
            }
          }
        }
      }
    }
  }

  /** Tiny factors keep their accuracy where the product is not tiny. */
  @Test
  void tinyTimesHuge() {
    try (Arena arena = Arena.ofConfined()) {
      Floats a = Floats.filled(arena, 16 * 32, 1.2345678e-35f);
      Floats b = Floats.filled(arena, 32 * 16, 1.2345678e35f);
      Floats c = Floats.zeros(arena, 256);
      Term term = new Term(32, Matrix.rowMajor(a.address(), 32), Matrix.rowMajor(b.address(), 16));
      multiply(1, 16, 16, List.of(term), Matrix.rowMajor(c.address(), 16), false, 0);
      double expected = 32.0 * 1.2345678e-35f * 1.2345678e35f;
      for (int i = 0; i < 256; i++) {
        assertEquals(expected, c.get(i), 1e-5 * expected);
      }
    }
  }

  /** Sums on the unit are no less accurate than chains of fused multiply-adds. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2})
  void asAccurateAsTiles(int kind) {
    int side = 48;
    int k = 512;
    Random random = new Random(kind);
    try (Arena arena = Arena.ofConfined()) {
      Floats x = Floats.zeros(arena, side * k);
      Floats y = Floats.zeros(arena, side * k);
      for (int i = 0; i < side * k; i++) {
        double spread = kind == 2 ? Math.exp(5 * random.nextGaussian()) : 1;
        x.set(i, (float) (kind == 1 ? random.nextDouble() : random.nextGaussian() * spread));
        y.set(i, (float) (kind == 1 ? random.nextDouble() : random.nextGaussian()));
      }
      Matrix a = Matrix.rowMajor(x.address(), k);
      Matrix b = Matrix.rowMajor(y.address(), side);
      Floats unit = Floats.zeros(arena, side * side);
      Floats tiles = Floats.zeros(arena, side * side);
      Matrix c = Matrix.rowMajor(unit.address(), side);
      multiply(1, side, side, List.of(new Term(k, a, b)), c, false, 0);
      Matrix d = Matrix.rowMajor(tiles.address(), side);
      Gemm.multiply(new SplitTile(TILE), 1, side, side, k, a, b, d, false, 0);
      double ours = 0;
      double theirs = 0;
      for (int i = 0; i < side; i++) {
        for (int j = 0; j < side; j++) {
          double sum = 0;
          double sizes = 0;
          for (int p = 0; p < k; p++) {
            double product = (double) at(a, 0, i, p) * at(b, 0, p, j);
            sum += product;
            sizes += Math.abs(product);
          }
          ours += Math.pow((at(c, 0, i, j) - sum) / sizes, 2);
          theirs += Math.pow((at(d, 0, i, j) - sum) / sizes, 2);
        }
      }
      assertTrue(ours <= theirs, Math.sqrt(ours) + " by the unit, " + Math.sqrt(theirs));
    }
  }

  @Test
  void paysFromSomeSizeOn() {
    assertTrue(SplitOperands.pays(256, 256, 256));
    assertTrue(SplitOperands.pays(1024, 64, 64));
    assertEquals(false, SplitOperands.pays(16, 1024, 1024));
    assertEquals(false, SplitOperands.pays(1024, 16, 1024));
    assertEquals(false, SplitOperands.pays(1024, 1024, 4));
  }
}
