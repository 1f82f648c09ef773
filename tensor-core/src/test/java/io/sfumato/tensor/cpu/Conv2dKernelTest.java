// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.PackedWeights.Cache.NONE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class Conv2dKernelTest {
  private static final List<SimdProvider> PROVIDERS = NativeFloats.productProviders();

  private final int threads = Parallel.threads();

  @AfterEach
  void restoreThreads() {
    Parallel.setThreads(threads);
  }

  static Stream<ConvGeometry> geometries() {
    return Stream.of(
        ConvGeometry.of(2, 3, 7, 5, 4, 3, 1, 1),
        ConvGeometry.of(1, 1, 1, 1, 1, 1, 1, 0),
        ConvGeometry.of(2, 24, 8, 8, 40, 3, 1, 1),
        ConvGeometry.of(5, 17, 4, 4, 70, 3, 1, 1),
        ConvGeometry.of(3, 16, 2, 2, 16, 3, 1, 1),
        ConvGeometry.of(2, 33, 9, 7, 20, 1, 1, 0),
        ConvGeometry.of(2, 20, 6, 7, 5, 1, 1, 2),
        ConvGeometry.of(2, 18, 9, 11, 12, 1, 2, 0),
        ConvGeometry.of(2, 30, 9, 10, 18, 3, 2, 1),
        ConvGeometry.of(1, 4, 16, 16, 32, 4, 4, 0),
        ConvGeometry.of(1, 20, 12, 13, 9, 5, 1, 0),
        ConvGeometry.of(1, 6, 5, 6, 7, 3, 1, 4),
        ConvGeometry.of(1, 150, 5, 6, 66, 3, 1, 1),
        ConvGeometry.of(1, 50, 3, 40, 8, 3, 3, 2),
        new ConvGeometry(2, 20, 8, 9, 6, 3, 3, 2, 2, 0, 0, 1, 1, 1, 1, 1),
        new ConvGeometry(2, 5, 8, 9, 6, 2, 3, 1, 2, 0, 2, 1, 0, 1, 1, 1),
        new ConvGeometry(1, 20, 10, 9, 11, 3, 2, 1, 1, 2, 0, 1, 3, 2, 3, 1),
        new ConvGeometry(1, 20, 10, 9, 11, 3, 1, 1, 1, 2, 0, 1, 3, 2, 3, 1),
        new ConvGeometry(2, 7, 12, 11, 5, 3, 3, 3, 2, 1, 2, 2, 1, 2, 2, 1),
        new ConvGeometry(2, 8, 6, 7, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4),
        new ConvGeometry(2, 8, 6, 7, 12, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 2),
        new ConvGeometry(2, 9, 6, 7, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 9),
        new ConvGeometry(1, 160, 5, 5, 150, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2),
        new ConvGeometry(2, 6, 7, 8, 6, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 3),
        new ConvGeometry(1, 3, 5, 9, 4, 5, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1),
        new ConvGeometry(1, 3, 9, 5, 4, 1, 3, 5, 7, 0, 1, 0, 1, 1, 1, 1));
  }

  /** What visits each product of the convolution, once. */
  private interface Term {
    void at(int x, int weight, int y);
  }

  private static void forEachTerm(ConvGeometry g, Term term) {
    int inC = g.groupInC();
    int outC = g.groupOutC();
    for (int n = 0; n < g.batch(); n++) {
      for (int oh = 0; oh < g.outH(); oh++) {
        for (int ow = 0; ow < g.outW(); ow++) {
          for (int o = 0; o < g.outC(); o++) {
            for (int kh = 0; kh < g.kH(); kh++) {
              for (int kw = 0; kw < g.kW(); kw++) {
                int ih = oh * g.strideH() - g.padTop() + kh * g.dilationH();
                int iw = ow * g.strideW() - g.padLeft() + kw * g.dilationW();
                if (ih < 0 || ih >= g.inH() || iw < 0 || iw >= g.inW()) {
                  continue;
                }
                for (int c = 0; c < inC; c++) {
                  term.at(
                      ((n * g.inH() + ih) * g.inW() + iw) * g.inC() + o / outC * inC + c,
                      ((o * inC + c) * g.kH() + kh) * g.kW() + kw,
                      ((n * g.outH() + oh) * g.outW() + ow) * g.outC() + o);
                }
              }
            }
          }
        }
      }
    }
  }

  /** Operands of one geometry. */
  private record Case(ConvGeometry g, Floats x, Floats weight, Floats bias, Floats dy) {
    static Case of(Arena arena, ConvGeometry g) {
      return new Case(
          g,
          Floats.random(arena, g.batch() * g.inH() * g.inW() * g.inC(), 1),
          Floats.random(arena, g.outC() * g.groupInC() * g.kH() * g.kW(), 2),
          Floats.random(arena, g.outC(), 3),
          Floats.random(arena, g.batch() * g.outH() * g.outW() * g.outC(), 4));
    }

    Floats run(Arena arena, SimdProvider simd, int pass) {
      Floats result = Floats.filled(arena, new Floats[] {dy, dy, x, weight, bias}[pass].size(), 7f);
      long to = result.address();
      switch (pass) {
        case 0 -> Conv2dKernel.forward(simd, g, x.address(), weight.address(), NONE, 0, to);
        case 1 ->
            Conv2dKernel.forward(simd, g, x.address(), weight.address(), NONE, bias.address(), to);
        case 2 -> Conv2dKernel.backwardInput(simd, g, dy.address(), weight.address(), NONE, to);
        case 3 -> Conv2dKernel.backwardWeight(simd, g, x.address(), dy.address(), to);
        default ->
            Conv2dKernel.columnSums(
                simd.gemmTile(), dy.size() / g.outC(), g.outC(), dy.address(), to);
      }
      return result;
    }
  }

  @ParameterizedTest
  @MethodSource("geometries")
  void agreesWithTheDefinition(ConvGeometry g) {
    for (SimdProvider simd : PROVIDERS) {
      try (Arena arena = Arena.ofConfined()) {
        Case c = Case.of(arena, g);
        double[] y = new double[c.dy.size()];
        double[] dx = new double[c.x.size()];
        double[] dw = new double[c.weight.size()];
        double[] db = new double[g.outC()];
        forEachTerm(
            g,
            (ix, iw, iy) -> {
              y[iy] += (double) c.x.get(ix) * c.weight.get(iw);
              dx[ix] += (double) c.dy.get(iy) * c.weight.get(iw);
              dw[iw] += (double) c.dy.get(iy) * c.x.get(ix);
            });
        for (int i = 0; i < y.length; i++) {
          db[i % g.outC()] += c.dy.get(i);
        }
        int taps = g.kH() * g.kW();
        int pixels = g.batch() * g.outH() * g.outW();
        c.run(arena, simd, 0).assertClose(y, taps * g.groupInC(), "forward");
        for (int i = 0; i < y.length; i++) {
          y[i] += c.bias.get(i % g.outC());
        }
        c.run(arena, simd, 1).assertClose(y, taps * g.groupInC(), "forward with bias");
        c.run(arena, simd, 2).assertClose(dx, taps * g.groupOutC(), "input gradient");
        c.run(arena, simd, 3).assertClose(dw, pixels, "weight gradient");
        c.run(arena, simd, 4).assertClose(db, pixels, "bias gradient");
      }
    }
  }

  /** Convolutions that are computed by {@link WinogradLoops}, of all sizes of odd borders. */
  static Stream<ConvGeometry> winogradGeometries() {
    return Stream.of(
        ConvGeometry.of(1, 16, 8, 8, 16, 3, 1, 1),
        ConvGeometry.of(3, 16, 7, 11, 16, 3, 1, 1),
        ConvGeometry.of(3, 19, 8, 5, 33, 3, 1, 1),
        ConvGeometry.of(16, 17, 2, 2, 70, 3, 1, 1),
        ConvGeometry.of(8, 33, 4, 4, 20, 3, 1, 1),
        ConvGeometry.of(3, 23, 9, 7, 85, 3, 1, 0),
        ConvGeometry.of(3, 31, 6, 9, 17, 3, 1, 2),
        ConvGeometry.of(2, 80, 5, 6, 96, 3, 1, 3),
        ConvGeometry.of(1, 400, 8, 7, 40, 3, 1, 1),
        ConvGeometry.of(1, 40, 8, 8, 400, 3, 1, 1),
        ConvGeometry.of(1, 130, 18, 33, 66, 3, 1, 1),
        new ConvGeometry(3, 20, 9, 8, 22, 3, 3, 1, 1, 0, 2, 1, 0, 1, 1, 1),
        new ConvGeometry(3, 18, 6, 11, 34, 3, 3, 1, 1, 2, 0, 0, 1, 1, 1, 1),
        new ConvGeometry(2, 18, 6, 11, 34, 3, 3, 1, 1, 4, 1, 3, 5, 1, 1, 1));
  }

  @ParameterizedTest
  @MethodSource("winogradGeometries")
  void filtersInTheWinogradDomainAgreeWithTheDefinition(ConvGeometry g) {
    assertTrue(WinogradTiles.pay(ConvWindow.forward(g)), "forward");
    assertTrue(WinogradTiles.pay(ConvWindow.inputGradient(g)), "input gradient");
    agreesWithTheDefinition(g);
  }

  @Test
  void filtersOfAnyImageSizeAgreeWithTheDefinition() {
    int transformed = 0;
    for (int height = 1; height <= 9; height++) {
      for (int width = 1; width <= 11; width++) {
        ConvGeometry g = ConvGeometry.of(3, 17, height, width, 18, 3, 1, 1);
        transformed += WinogradTiles.pay(ConvWindow.forward(g)) ? 1 : 0;
        agreesWithTheDefinition(g);
      }
    }
    assertTrue(transformed > 40, "too few sizes went through the Winograd transforms");
  }

  @Test
  void givesTheSameBitsForAnyNumberOfThreads() {
    List<ConvGeometry> cases =
        List.of(
            ConvGeometry.of(3, 24, 18, 16, 40, 3, 1, 1),
            ConvGeometry.of(1, 150, 8, 7, 200, 3, 1, 1),
            ConvGeometry.of(3, 12, 18, 16, 40, 3, 1, 1),
            ConvGeometry.of(3, 24, 18, 16, 40, 3, 2, 1),
            ConvGeometry.of(3, 64, 18, 16, 72, 1, 1, 0));
    SimdProvider simd = Simd.provider();
    for (ConvGeometry g : cases) {
      try (Arena arena = Arena.ofShared()) {
        Case c = Case.of(arena, g);
        for (int pass = 0; pass < 5; pass++) {
          List<float[]> results = new ArrayList<>();
          for (int count = 1; count <= 3; count++) {
            Parallel.setThreads(count);
            results.add(c.run(arena, simd, pass).toArray());
          }
          assertArrayEquals(results.get(0), results.get(1), "pass " + pass + ", 2 threads");
          assertArrayEquals(results.get(0), results.get(2), "pass " + pass + ", 3 threads");
        }
      }
    }
  }

  @Test
  void sumsLargeBatchesInChunks() {
    ConvGeometry g = ConvGeometry.of(3, 20, 300, 300, 4, 1, 3, 1);
    try (Arena arena = Arena.ofConfined()) {
      Case c = Case.of(arena, g);
      double[] dw = new double[c.weight.size()];
      double[] dx = new double[c.x.size()];
      forEachTerm(
          g,
          (ix, iw, iy) -> {
            dw[iw] += (double) c.dy.get(iy) * c.x.get(ix);
            dx[ix] += (double) c.dy.get(iy) * c.weight.get(iw);
          });
      SimdProvider simd = Simd.provider();
      c.run(arena, simd, 3).assertClose(dw, 3 * 100 * 100, "weight gradient");
      c.run(arena, simd, 2).assertClose(dx, 4, "input gradient");
    }
  }

  @Test
  void anEmptyBatchHasZeroGradients() {
    ConvGeometry g = ConvGeometry.of(0, 3, 4, 4, 5, 3, 1, 1);
    try (Arena arena = Arena.ofConfined()) {
      Case c = Case.of(arena, g);
      SimdProvider simd = Simd.provider();
      for (int pass = 0; pass < 5; pass++) {
        for (float value : c.run(arena, simd, pass).toArray()) {
          assertEquals(0f, value);
        }
      }
    }
  }

  @Test
  void geometryKnowsItsOutputAndItsLimits() {
    ConvGeometry g = new ConvGeometry(2, 4, 7, 9, 6, 3, 2, 2, 1, 1, 0, 2, 1, 2, 3, 2);
    assertEquals(3, g.outH());
    assertEquals(7, g.outW());
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> ConvGeometry.of(1, 3, 2, 9, 4, 5, 1, 1));
    assertEquals(
        "conv2d: the kernel must fit the padded image; got kernel height 5 over 4", e.getMessage());
    e =
        assertThrows(
            IllegalArgumentException.class,
            () -> new ConvGeometry(1, 3, 8, 8, 4, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1, 2));
    assertEquals(
        "conv2d: inC and outC must be multiples of groups; got inC 3, outC 4, groups 2",
        e.getMessage());
    assertThrows(IllegalArgumentException.class, () -> ConvGeometry.of(1, 3, 8, 8, 4, 3, 0, 1));
    assertThrows(IllegalArgumentException.class, () -> ConvGeometry.of(1, 3, 8, 8, 4, 3, 1, -1));
    assertThrows(IllegalArgumentException.class, () -> ConvGeometry.of(-1, 3, 8, 8, 4, 3, 1, 1));
  }
}
