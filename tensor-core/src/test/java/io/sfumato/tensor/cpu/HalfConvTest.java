// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.HalfConvKernel.Pass;
import io.sfumato.tensor.exec.Elements;
import java.lang.foreign.Arena;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Convolutions of bfloat16 on a matrix unit, an emulated one, for this processor may have none. */
class HalfConvTest {
  private static final MatrixUnit UNIT = new EmulatedUnit();

  private final int threads = Parallel.threads();

  @AfterEach
  void restoreThreads() {
    Parallel.setThreads(threads);
  }

  static Stream<ConvWindow> windows() {
    return SplitConvTest.windows();
  }

  private static long random(Arena arena, int n, long seed) {
    long at = arena.allocate(2L * n, 64).address();
    Random random = new Random(seed);
    for (int i = 0; i < n; i++) {
      Elements.put(DType.BF16, at + 2L * i, random.nextGaussian());
    }
    return at;
  }

  private static double get(long address, long i) {
    return Elements.get(DType.BF16, address + 2 * i);
  }

  private static void assertRounded(double expected, double sizes, double actual, String what) {
    assertEquals(expected, actual, 8 * 0x1p-24 * sizes + 1.001 * 0x1p-8 * Math.abs(expected), what);
  }

  /** A convolution with weights [outC, inC, kH, kW] by its definition. */
  private static void check(
      ConvWindow w, long x, long weight, boolean flipped, Floats bias, long y) {
    int taps = w.taps();
    for (int i = 0; i < w.batch() * w.outH() * w.outW() * w.outC(); i++) {
      int o = i % w.outC();
      int ow = i / w.outC() % w.outW();
      int oh = i / w.outC() / w.outW() % w.outH();
      int n = i / w.outC() / w.outW() / w.outH();
      double sum = flipped ? 0 : bias.get(o);
      double sizes = Math.abs(sum);
      for (int tap = 0; tap < taps; tap++) {
        int ih = oh * w.strideH() - w.padTop() + tap / w.kW() * w.dilationH();
        int iw = ow * w.strideW() - w.padLeft() + tap % w.kW() * w.dilationW();
        if (ih < 0 || ih >= w.inH() || iw < 0 || iw >= w.inW()) {
          continue;
        }
        for (int c = 0; c < w.inC(); c++) {
          double product =
              get(x, ((n * w.inH() + ih) * (long) w.inW() + iw) * w.inC() + c)
                  * get(weight, (o * (long) w.inC() + c) * taps + (flipped ? taps - 1 - tap : tap));
          sum += product;
          sizes += Math.abs(product);
        }
      }
      assertRounded(sum, sizes, get(y, i), w + ": element " + i);
    }
  }

  @ParameterizedTest
  @MethodSource("windows")
  void agreesWithTheDefinition(ConvWindow w) {
    int outputs = w.batch() * w.outH() * w.outW() * w.outC();
    try (Arena arena = Arena.ofShared()) {
      long x = random(arena, w.batch() * w.inH() * w.inW() * w.inC(), 1);
      long at = random(arena, w.outC() * w.inC() * w.taps(), 2);
      Matrix weight = new Matrix(at, w.taps(), (long) w.inC() * w.taps(), 0, DType.BF16);
      Floats bias = Floats.random(arena, w.outC(), 3);
      for (boolean flipped : new boolean[] {false, true}) {
        short[][] results = new short[2][outputs];
        for (int t = 0; t < 2; t++) {
          Parallel.setThreads(1 + t);
          long y = random(arena, outputs + 1, 4);
          double guard = get(y, outputs);
          long add = flipped ? 0 : bias.address();
          HalfConvKernel.convolve(
              Simd.provider().gemmTile(),
              UNIT,
              w,
              x,
              weight,
              flipped,
              PackedWeights.Cache.NONE,
              add,
              y);
          check(w, x, at, flipped, bias, y);
          assertEquals(guard, get(y, outputs));
          for (int i = 0; i < outputs; i++) {
            results[t][i] = Memory.getShort(y + 2L * i);
          }
        }
        assertArrayEquals(results[0], results[1]);
      }
    }
  }

  static Stream<ConvGeometry> geometries() {
    return Stream.of(
        ConvGeometry.of(2, 3, 5, 16, 4, 3, 1, 1),
        ConvGeometry.of(1, 40, 4, 32, 16, 3, 1, 1),
        ConvGeometry.of(2, 33, 6, 5, 20, 3, 1, 1),
        ConvGeometry.of(9, 18, 8, 8, 17, 3, 1, 1), // several images at a time
        ConvGeometry.of(1, 17, 40, 29, 70, 3, 1, 1), // several blocks of rows
        ConvGeometry.of(1, 2, 3, 700, 3, 3, 1, 1), // rows longer than a block
        ConvGeometry.of(1, 20, 9, 3, 7, 2, 1, 0),
        ConvGeometry.of(1, 4, 4, 4, 5, 3, 1, 3),
        new ConvGeometry(2, 5, 9, 7, 20, 3, 2, 1, 1, 2, 0, 1, 3, 2, 3, 1),
        ConvGeometry.of(5, 18, 9, 8, 17, 3, 2, 1),
        ConvGeometry.of(1, 17, 81, 61, 20, 3, 2, 1),
        ConvGeometry.of(1, 3, 7, 8, 5, 1, 2, 0), // some pixels are seen by no tap
        ConvGeometry.of(2, 4, 6, 6, 5, 4, 2, 3),
        new ConvGeometry(1, 5, 12, 9, 6, 3, 3, 3, 2, 0, 1, 2, 0, 2, 3, 1),
        new ConvGeometry(2, 6, 8, 7, 4, 3, 3, 2, 2, 0, 0, 1, 1, 1, 1, 1)); // as diffusers pads
  }

  @ParameterizedTest
  @MethodSource("geometries")
  void weightGradientAgreesWithTheDefinition(ConvGeometry g) {
    int taps = g.kH() * g.kW();
    int n = g.outC() * g.inC() * taps;
    try (Arena arena = Arena.ofShared()) {
      long x = random(arena, g.batch() * g.inH() * g.inW() * g.inC(), 1);
      long dy = random(arena, g.batch() * g.outH() * g.outW() * g.outC(), 2);
      short[][] results = new short[2][n];
      for (int t = 0; t < 2; t++) {
        Parallel.setThreads(1 + t);
        long dw = random(arena, n + 1, 3);
        double guard = get(dw, n);
        new HalfConvWeightGradient(UNIT, ConvWindow.forward(g)).run(x, dy, dw);
        assertEquals(guard, get(dw, n));
        for (int i = 0; i < n; i++) {
          results[t][i] = Memory.getShort(dw + 2L * i);
        }
        check(g, x, dy, dw);
      }
      assertArrayEquals(results[0], results[1]);
    }
  }

  private static void check(ConvGeometry g, long x, long dy, long dw) {
    int taps = g.kH() * g.kW();
    for (int i = 0; i < g.outC() * g.inC() * taps; i++) {
      int tap = i % taps;
      int c = i / taps % g.inC();
      int o = i / taps / g.inC();
      double sum = 0;
      double sizes = 0;
      for (int p = 0; p < g.batch() * g.outH() * g.outW(); p++) {
        int ow = p % g.outW();
        int oh = p / g.outW() % g.outH();
        int image = p / g.outW() / g.outH();
        int ih = oh * g.strideH() - g.padTop() + tap / g.kW() * g.dilationH();
        int iw = ow * g.strideW() - g.padLeft() + tap % g.kW() * g.dilationW();
        if (ih >= 0 && ih < g.inH() && iw >= 0 && iw < g.inW()) {
          double product =
              get(x, ((image * g.inH() + ih) * (long) g.inW() + iw) * g.inC() + c)
                  * get(dy, (long) p * g.outC() + o);
          sum += product;
          sizes += Math.abs(product);
        }
      }
      assertRounded(sum, sizes, get(dw, i), g + ": element " + i);
    }
  }

  @ParameterizedTest
  @MethodSource("geometries")
  void phasesOfTheInputGradientAgreeWithTheDefinition(ConvGeometry g) {
    assumeTrue(ConvPhases.serve(g));
    int n = g.batch() * g.inH() * g.inW() * g.inC();
    try (Arena arena = Arena.ofShared()) {
      long weight = random(arena, g.outC() * g.inC() * g.kH() * g.kW(), 1);
      long dy = random(arena, g.batch() * g.outH() * g.outW() * g.outC(), 2);
      long dx = random(arena, n + 1, 3);
      double guard = get(dx, n);
      GemmTile tile = Simd.provider().gemmTile();
      new ConvPhases(new ConvPhases.ByHalves(tile, UNIT), g)
          .run(PackedWeights.Cache.NONE, weight, dy, dx);
      checkInputGradient(g, weight, dy, dx);
      assertEquals(guard, get(dx, n));
    }
  }

  private static void checkInputGradient(ConvGeometry g, long weight, long dy, long dx) {
    int n = g.batch() * g.inH() * g.inW() * g.inC();
    double[] sums = new double[n];
    double[] sizes = new double[n];
    int taps = g.kH() * g.kW();
    for (int p = 0; p < g.batch() * g.outH() * g.outW(); p++) {
      int ow = p % g.outW();
      int oh = p / g.outW() % g.outH();
      int image = p / g.outW() / g.outH();
      for (int tap = 0; tap < taps; tap++) {
        int ih = oh * g.strideH() - g.padTop() + tap / g.kW() * g.dilationH();
        int iw = ow * g.strideW() - g.padLeft() + tap % g.kW() * g.dilationW();
        if (ih < 0 || ih >= g.inH() || iw < 0 || iw >= g.inW()) {
          continue;
        }
        for (int i = 0; i < g.inC() * g.outC(); i++) {
          int c = i % g.inC();
          int o = i / g.inC();
          double product = get(dy, (long) p * g.outC() + o) * get(weight, (long) i * taps + tap);
          int at = ((image * g.inH() + ih) * g.inW() + iw) * g.inC() + c;
          sums[at] += product;
          sizes[at] += Math.abs(product);
        }
      }
    }
    for (int i = 0; i < n; i++) {
      assertRounded(sums[i], sizes[i], get(dx, i), g + ": element " + i);
    }
  }

  @Test
  void refusesWhatItCannotCompute() {
    ConvGeometry usual = ConvGeometry.of(1, 8, 9, 9, 8, 3, 1, 1);
    ConvGeometry strided = ConvGeometry.of(1, 8, 9, 9, 8, 3, 2, 1);
    ConvGeometry grouped = new ConvGeometry(1, 8, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2);
    for (Pass pass : Pass.values()) {
      assertNull(HalfConvKernel.refuse(UNIT, usual, pass));
      assertNull(HalfConvKernel.refuse(UNIT, strided, pass));
      assertNotNull(HalfConvKernel.refuse(null, usual, pass));
      assertNotNull(HalfConvKernel.refuse(UNIT, grouped, pass));
    }
    ConvGeometry wide = ConvGeometry.of(1, 8, 32, 32, 8, 3, 3, 1);
    assertNull(HalfConvKernel.refuse(UNIT, wide, Pass.FORWARD));
    assertNotNull(HalfConvKernel.refuse(UNIT, wide, Pass.BACKWARD_INPUT));
  }
}
