// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import io.sfumato.tensor.exec.Elements;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Products of 16-bit matrices: on an emulated unit, in parts there, and by tiles. */
class GemmHalvesTest {
  private static final GemmTile TILE = Simd.provider().gemmTile();
  private static final MatrixUnit UNIT = new EmulatedUnit();
  private static final double ULP = 0x1p-24;

  private final int threads = Parallel.threads();

  @AfterEach
  void restoreThreads() {
    Parallel.setThreads(threads);
  }

  /** The three ways to multiply. */
  enum Way {
    HALVES,
    SPLIT,
    TILES;

    GemmFormat format() {
      return switch (this) {
        case HALVES -> new GemmFormat.Halves(TILE, UNIT);
        case SPLIT -> new GemmFormat.Split(TILE, UNIT);
        case TILES -> new GemmFormat.Tiles(TILE);
      };
    }
  }

  private static long random(Arena arena, DType type, int n, long seed) {
    long at = arena.allocate((long) type.bytes() * n, 64).address();
    Random random = new Random(seed);
    for (int i = 0; i < n; i++) {
      Elements.put(type, at + (long) i * type.bytes(), random.nextGaussian());
    }
    return at;
  }

  /** An operand [rows, columns] in one of the ways it may lie in memory. */
  private static Matrix operand(
      Arena arena, DType type, int layout, int batch, int rows, int columns, long seed) {
    int stride = layout == 0 ? columns : layout == 1 ? rows : 2 * columns + 1;
    int elements = layout == 1 ? rows * columns : rows * stride;
    long at = random(arena, type, batch * elements, seed);
    return switch (layout) {
      case 0 -> new Matrix(at, stride, 1, elements, type);
      case 1 -> new Matrix(at, 1, stride, elements, type);
      default -> new Matrix(at, stride, 2, elements, type);
    };
  }

  private static double at(Matrix m, int batch, int row, int column) {
    return Elements.get(m.type(), m.at(row, column, batch).address());
  }

  /** Half a unit in the last place of a type, relative. */
  private static double rounding(DType type) {
    return switch (type) {
      case BF16 -> 0x1p-8;
      case F16 -> 0x1p-11;
      default -> 0;
    };
  }

  private static void check(
      int batch, int m, int n, List<Term> terms, Matrix c, long bias, String what) {
    for (int s = 0; s < batch; s++) {
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          double sum = bias == 0 ? 0 : Memory.getFloat(bias + 4L * j);
          double sizes = Math.abs(sum);
          for (Term term : terms) {
            for (int p = 0; p < term.k(); p++) {
              double product = at(term.a(), s, i, p) * at(term.b(), s, p, j);
              sum += product;
              sizes += Math.abs(product);
            }
          }
          double limit = 8 * ULP * sizes + 1.001 * rounding(c.type()) * Math.abs(sum);
          assertEquals(sum, at(c, s, i, j), limit, what + ": " + i + ", " + j);
        }
      }
    }
  }

  private static void multiply(
      Way way, int batch, int m, int n, List<Term> terms, Matrix c, long bias) {
    new GemmBlock(TILE, way.format(), batch, m, n, terms, c, false, bias).run(Parallel.threads());
  }

  @ParameterizedTest
  @CsvSource({
    "1,1,1",
    "16,16,32",
    "32,48,64",
    "17,15,31",
    "5,40,33",
    "33,16,300",
    "16,50,257",
    "40,33,513",
    "300,17,16",
    "20,200,1100"
  })
  void agreesWithTheDefinitionForEveryLayout(int m, int n, int k) {
    for (Way way : Way.values()) {
      for (int layout = 0; layout < 9; layout++) {
        for (DType result : new DType[] {DType.BF16, DType.F32}) {
          try (Arena arena = Arena.ofConfined()) {
            Matrix a = operand(arena, DType.BF16, layout % 3, 1, m, k, 1);
            Matrix b = operand(arena, DType.BF16, layout / 3, 1, k, n, 2);
            long to = random(arena, result, m * n + 8, 3);
            double guard = Elements.get(result, to + (long) m * n * result.bytes());
            long bias = layout % 2 == 0 ? 0 : Floats.random(arena, n, 4).address();
            Matrix c = Matrix.rowMajor(to, n, result);
            List<Term> terms = List.of(new Term(k, a, b));
            multiply(way, 1, m, n, terms, c, bias);
            check(1, m, n, terms, c, bias, way + ", layouts " + layout + " to " + result);
            assertEquals(guard, Elements.get(result, to + (long) m * n * result.bytes()));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"BF16", "F16", "F32"})
  void typesMayDiffer(DType right) {
    try (Arena arena = Arena.ofConfined()) {
      int m = 37;
      int n = 50;
      int k = 300;
      for (DType left : new DType[] {DType.F16, DType.F32}) {
        for (Way way : new Way[] {Way.SPLIT, Way.TILES}) {
          for (int layout = 0; layout < 9; layout++) {
            Matrix a = operand(arena, left, layout % 3, 1, m, k, 1);
            Matrix b = operand(arena, right, layout / 3, 1, k, n, 2);
            Matrix c = Matrix.rowMajor(random(arena, DType.F16, m * n, 3), n, DType.F16);
            List<Term> terms = List.of(new Term(k, a, b));
            multiply(way, 1, m, n, terms, c, 0);
            check(1, m, n, terms, c, 0, way + ", " + left + " by " + right + ", " + layout);
          }
        }
      }
    }
  }

  @Test
  void batchesAndSums() {
    int batch = 3;
    int m = 30;
    int n = 40;
    int k = 70;
    try (Arena arena = Arena.ofConfined()) {
      for (Way way : Way.values()) {
        for (int layout = 0; layout < 9; layout++) {
          Matrix a = operand(arena, DType.BF16, layout % 3, batch, m, k, 1);
          Matrix b = operand(arena, DType.BF16, layout / 3, batch, k, n, 2);
          Matrix d = operand(arena, DType.BF16, layout % 3, batch, m, 20, 5);
          Matrix e = operand(arena, DType.BF16, layout / 3, batch, 20, n, 6);
          long to = random(arena, DType.BF16, batch * m * n, 3);
          Matrix c = new Matrix(to, n, 1, (long) m * n, DType.BF16);
          List<Term> terms = List.of(new Term(k, a, b), new Term(20, d, e));
          multiply(way, batch, m, n, terms, c, 0);
          check(batch, m, n, terms, c, 0, way + ", layouts " + layout);
        }
      }
    }
  }

  /** Many small products are widened together. */
  @ParameterizedTest
  @CsvSource({"24,12,32", "3,50,7", "1,33,40", "24,40,20"})
  void batchesOfSmallProducts(int m, int n, int k) {
    int batch = 101;
    try (Arena arena = Arena.ofConfined()) {
      for (DType type : new DType[] {DType.BF16, DType.F16}) {
        for (int layout = 0; layout < 9; layout++) {
          Matrix a = operand(arena, type, layout % 3, batch, m, k, 1);
          Matrix b = operand(arena, type, layout / 3, batch, k, n, 2);
          if (layout % 2 == 0) { // shared by all
            a = new Matrix(a.address(), a.rowStride(), a.colStride(), 0, type);
          }
          DType result = layout == 4 ? DType.F32 : type;
          long to = random(arena, result, batch * m * (n + 3), 3);
          int stride = layout < 5 ? n : n + 3;
          Matrix c = new Matrix(to, stride, 1, (long) m * stride, result);
          long bias = layout < 3 ? Floats.random(arena, n, 4).address() : 0;
          assertTrue(GemmSmallHalves.pays(m, n, k));
          Gemm.multiply(batch, m, n, k, a, b, c, false, bias);
          check(batch, m, n, List.of(new Term(k, a, b)), c, bias, type + ", layouts " + layout);
        }
      }
    }
  }

  /** A result of f32 is added to, however small the products are. */
  @Test
  void addsToFloats() {
    int batch = 20;
    int side = 8;
    try (Arena arena = Arena.ofConfined()) {
      Matrix a = operand(arena, DType.BF16, 0, batch, side, side, 1);
      Matrix b = operand(arena, DType.BF16, 0, batch, side, side, 2);
      Floats sums = Floats.filled(arena, batch * side * side, 1000);
      Floats alone = Floats.zeros(arena, batch * side * side);
      Matrix to = Matrix.stack(sums.address(), side, side);
      Gemm.multiply(batch, side, side, side, a, b, to, true, 0);
      Matrix other = Matrix.stack(alone.address(), side, side);
      Gemm.multiply(batch, side, side, side, a, b, other, false, 0);
      for (int i = 0; i < batch * side * side; i++) {
        assertEquals(1000 + alone.get(i), sums.get(i), 1e-3);
      }
    }
  }

  /** Where sums are too long for the work space, they are kept as floats between its rounds. */
  @ParameterizedTest
  @EnumSource(Way.class)
  void longSumsAreRoundedOnce(Way way) {
    int m = 3;
    int n = 16;
    int k = (1 << 18) + 1000;
    try (Arena arena = Arena.ofConfined()) {
      Matrix a = operand(arena, DType.BF16, 0, 1, m, k, 1);
      Matrix b = operand(arena, DType.BF16, 0, 1, k, n, 2);
      Matrix c = Matrix.rowMajor(random(arena, DType.BF16, m * n, 3), n, DType.BF16);
      List<Term> terms = List.of(new Term(k, a, b));
      multiply(way, 1, m, n, terms, c, 0);
      check(1, m, n, terms, c, 0, way.toString());
    }
  }

  /** The same bits for any number of threads, with panels packed before or in between. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void sameBitsForAnyThreadsAndPanels(int columns) {
    int m = 530;
    int n = 160 * columns;
    int k = 96;
    try (Arena arena = Arena.ofConfined()) {
      Matrix a = operand(arena, DType.BF16, 0, 1, m, k, 1);
      Matrix b = operand(arena, DType.BF16, 1, 1, k, n, 2);
      GemmFormat format = Way.HALVES.format();
      long panels = arena.allocate(format.panelBytes(k, n), 64).address();
      format.packAll(k, n, b, panels);
      float[][] results = new float[4][m * n];
      for (int i = 0; i < 4; i++) {
        Parallel.setThreads(1 + i % 2);
        Term term = i < 2 ? new Term(k, a, b) : new Term(k, a, b, panels, format.kind());
        Matrix c = Matrix.rowMajor(random(arena, DType.BF16, m * n, 3), n, DType.BF16);
        multiply(Way.HALVES, 1, m, n, List.of(term), c, 0);
        for (int e = 0; e < m * n; e++) {
          results[i][e] = (float) at(c, 0, e / n, e % n);
        }
        assertArrayEquals(results[0], results[i]);
      }
    }
  }

  /** Infinities and NaN go where they belong, and nowhere else. */
  @Test
  void nonFinite() {
    int side = 40;
    try (Arena arena = Arena.ofConfined()) {
      for (int layout = 0; layout < 9; layout++) {
        Matrix a = operand(arena, DType.BF16, layout % 3, 1, side, side, 1);
        Matrix b = operand(arena, DType.BF16, layout / 3, 1, side, side, 2);
        Elements.put(DType.BF16, a.at(3, 5, 0).address(), Double.POSITIVE_INFINITY);
        Elements.put(DType.BF16, b.at(7, 39, 0).address(), Double.NaN);
        Matrix c = Matrix.rowMajor(random(arena, DType.BF16, side * side, 3), side, DType.BF16);
        multiply(Way.HALVES, 1, side, side, List.of(new Term(side, a, b)), c, 0);
        for (int i = 0; i < side; i++) {
          for (int j = 0; j < side; j++) {
            double value = at(c, 0, i, j);
            String what = layout + ": " + i + ", " + j + " is " + value;
            assertEquals(j == 39, Double.isNaN(value), what);
            assertEquals(i == 3 && j != 39, Double.isInfinite(value), what);
          }
        }
      }
    }
  }

  @Test
  void choosesTheFormat() {
    try (Arena arena = Arena.ofConfined()) {
      Matrix half = operand(arena, DType.BF16, 0, 1, 64, 64, 1);
      Matrix other = operand(arena, DType.F16, 0, 1, 64, 64, 1);
      Term both = new Term(64, half, half);
      Term mixed = new Term(64, half, other);
      assertInstanceOf(GemmFormat.Halves.class, GemmFormat.of(TILE, UNIT, 2, 64, List.of(both)));
      assertInstanceOf(GemmFormat.Tiles.class, GemmFormat.of(TILE, UNIT, 2, 64, List.of(mixed)));
      assertInstanceOf(GemmFormat.Tiles.class, GemmFormat.of(TILE, UNIT, 2, 7, List.of(both)));
      assertInstanceOf(GemmFormat.Split.class, GemmFormat.of(TILE, UNIT, 256, 256, List.of(mixed)));
      assertInstanceOf(GemmFormat.Tiles.class, GemmFormat.of(TILE, UNIT, 64, 64, List.of()));
      Term few = new Term(64, half, half, 64, GemmFormat.Kind.TILES);
      assertInstanceOf(GemmFormat.Tiles.class, GemmFormat.of(TILE, UNIT, 256, 256, List.of(few)));
    }
  }

  @Test
  void refusesToAddToSixteenBits() {
    Matrix m = Matrix.rowMajor(64, 4, DType.BF16);
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Gemm.multiply(4, 4, 4, m, m, m, true));
    assertTrue(e.getMessage().contains("only a result of f32 is added to"), e.getMessage());
  }
}
