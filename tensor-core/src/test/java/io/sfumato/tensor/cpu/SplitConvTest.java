// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Convolutions on a matrix unit, an emulated one, for this processor may have none. */
class SplitConvTest {
  private static final MatrixUnit UNIT = new EmulatedUnit();

  private final int threads = Parallel.threads();

  @AfterEach
  void restoreThreads() {
    Parallel.setThreads(threads);
  }

  static Stream<ConvWindow> windows() {
    return Stream.concat(
        Stream.of(
                ConvGeometry.of(2, 3, 5, 16, 4, 3, 1, 1),
                ConvGeometry.of(1, 40, 4, 32, 16, 3, 1, 1),
                ConvGeometry.of(2, 33, 6, 5, 20, 3, 1, 1),
                ConvGeometry.of(1, 17, 7, 19, 33, 3, 1, 1),
                ConvGeometry.of(1, 20, 6, 32, 16, 3, 2, 1),
                ConvGeometry.of(2, 20, 9, 16, 17, 3, 2, 1),
                ConvGeometry.of(1, 3, 7, 61, 16, 3, 3, 1),
                ConvGeometry.of(1, 20, 9, 3, 7, 2, 1, 0),
                ConvGeometry.of(1, 4, 4, 4, 5, 3, 1, 3),
                ConvGeometry.of(1, 290, 2, 3, 6, 3, 1, 1),
                ConvGeometry.of(1, 33, 3, 16, 5, 1, 1, 0),
                new ConvGeometry(1, 5, 6, 7, 80, 3, 2, 1, 1, 2, 0, 1, 3, 2, 3, 1),
                new ConvGeometry(2, 6, 9, 33, 16, 3, 3, 3, 2, 1, 0, 2, 0, 1, 1, 1))
            .map(ConvWindow::forward),
        Stream.of(
                ConvGeometry.of(1, 18, 5, 16, 6, 3, 1, 1),
                ConvGeometry.of(1, 18, 5, 6, 40, 3, 1, 0),
                ConvGeometry.of(1, 3, 4, 6, 5, 2, 1, 3)) // its gradient crops
            .map(ConvWindow::inputGradient));
  }

  /** A convolution with weights [outC, inC, kH, kW] by its definition. */
  private static void check(
      ConvWindow w, Floats x, Floats weight, boolean flipped, Floats bias, Floats y) {
    int taps = w.taps();
    for (int i = 0; i < y.size(); i++) {
      int o = i % w.outC();
      int ow = i / w.outC() % w.outW();
      int oh = i / w.outC() / w.outW() % w.outH();
      int n = i / w.outC() / w.outW() / w.outH();
      double sum = bias == null ? 0 : bias.get(o);
      double sizes = Math.abs(sum);
      for (int tap = 0; tap < taps; tap++) {
        int ih = oh * w.strideH() - w.padTop() + tap / w.kW() * w.dilationH();
        int iw = ow * w.strideW() - w.padLeft() + tap % w.kW() * w.dilationW();
        if (ih < 0 || ih >= w.inH() || iw < 0 || iw >= w.inW()) {
          continue;
        }
        for (int c = 0; c < w.inC(); c++) {
          double product =
              (double) x.get(((n * w.inH() + ih) * (long) w.inW() + iw) * w.inC() + c)
                  * weight.get((o * (long) w.inC() + c) * taps + (flipped ? taps - 1 - tap : tap));
          sum += product;
          sizes += Math.abs(product);
        }
      }
      assertEquals(sum, y.get(i), 8 * 0x1p-24 * sizes, w + ": element " + i);
    }
  }

  private static boolean run(
      ConvWindow w, Floats x, Floats weight, boolean flipped, long bias, Floats y) {
    try (Arena arena = Arena.ofShared()) {
      long weights = arena.allocate(4 * SplitConv.weightFloats(w), 64).address();
      SplitConv conv = new SplitConv(Simd.provider().gemmTile(), UNIT, w, weights);
      long taps = w.taps();
      conv.packWeights(new Gemm.Matrix(weight.address(), taps, w.inC() * taps, 0), flipped);
      return conv.run(x.address(), bias, y.address());
    }
  }

  @ParameterizedTest
  @MethodSource("windows")
  void agreesWithTheDefinition(ConvWindow w) {
    assertTrue(SplitConv.canServe(w));
    try (Arena arena = Arena.ofShared()) {
      Floats x = Floats.random(arena, w.batch() * w.inH() * w.inW() * w.inC(), 1);
      Floats weight = Floats.random(arena, w.outC() * w.inC() * w.taps(), 2);
      Floats bias = Floats.random(arena, w.outC(), 3);
      for (boolean flipped : new boolean[] {false, true}) {
        Floats y = Floats.filled(arena, w.batch() * w.outH() * w.outW() * w.outC(), Float.NaN);
        Parallel.setThreads(1);
        assertTrue(run(w, x, weight, flipped, flipped ? 0 : bias.address(), y));
        check(w, x, weight, flipped, flipped ? null : bias, y);
        y.assertGuard("the convolution");
        float[] alone = y.toArray();
        Parallel.setThreads(2);
        assertTrue(run(w, x, weight, flipped, flipped ? 0 : bias.address(), y));
        assertArrayEquals(alone, y.toArray());
      }
    }
  }

  @Test
  void tellsWhatCannotBeSplit() {
    ConvWindow w = ConvWindow.forward(ConvGeometry.of(2, 40, 8, 8, 20, 3, 1, 1));
    try (Arena arena = Arena.ofShared()) {
      Floats y = Floats.zeros(arena, 2 * 64 * 20);
      for (boolean inWeights : new boolean[] {false, true}) {
        Floats x = Floats.random(arena, 2 * 64 * 40, 1);
        Floats weight = Floats.random(arena, 20 * 40 * 9, 2);
        assertTrue(run(w, x, weight, false, 0, y));
        (inWeights ? weight : x).set(3000, Float.POSITIVE_INFINITY);
        assertFalse(run(w, x, weight, false, 0, y));
      }
    }
  }

  @Test
  void servesWhereItPays() {
    assertTrue(SplitConv.serves(ConvWindow.forward(ConvGeometry.of(8, 64, 32, 32, 64, 3, 1, 1))));
    assertTrue(SplitConv.serves(ConvWindow.forward(ConvGeometry.of(8, 256, 32, 32, 256, 3, 2, 1))));
    // Winograd's transforms are little beside so many channels
    assertFalse(
        SplitConv.serves(ConvWindow.forward(ConvGeometry.of(8, 512, 16, 16, 512, 3, 1, 1))));
    assertFalse(SplitConv.serves(ConvWindow.forward(ConvGeometry.of(8, 3, 32, 32, 8, 3, 1, 1))));
    // half of the products would be of no output
    assertFalse(
        SplitConv.serves(ConvWindow.forward(ConvGeometry.of(8, 256, 16, 16, 256, 3, 2, 1))));
    ConvGeometry grouped = new ConvGeometry(1, 8, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2);
    assertFalse(SplitConv.canServe(ConvWindow.forward(grouped)));
  }

  /** Where there is a unit: an image with a value that has no parts takes the other way. */
  @Test
  void infinitiesGoThrough() {
    ConvGeometry g = ConvGeometry.of(1, 64, 16, 16, 64, 3, 1, 1);
    try (Arena arena = Arena.ofShared()) {
      Floats x = Floats.random(arena, 256 * 64, 1);
      Floats weight = Floats.random(arena, 64 * 64 * 9, 2);
      x.set(64 * 100, Float.POSITIVE_INFINITY);
      Floats y = Floats.zeros(arena, 256 * 64);
      Conv2dKernel.forward(
          g, x.address(), weight.address(), PackedWeights.Cache.NONE, 0, y.address());
      int seen = 0;
      for (int i = 0; i < y.size(); i++) {
        seen += Float.isFinite(y.get(i)) ? 0 : 1;
      }
      assertTrue(seen >= 9 * 64 && seen <= 36 * 64, seen + " elements");
    }
  }
}
