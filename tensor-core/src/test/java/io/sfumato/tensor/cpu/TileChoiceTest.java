// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The watch over tiles, on tiles whose time is made up. */
class TileChoiceTest {
  private static final long SECOND = 1_000_000_000;
  private final List<String> logged = new ArrayList<>();
  private final Logger logger = Logger.getLogger(TileChoice.class.getName());
  private final Handler handler =
      new Handler() {
        @Override
        public void publish(LogRecord line) {
          logged.add(line.getMessage());
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };

  private long now;
  private final SlowTile tile = new SlowTile();

  /** Tiles that take as long as they are told to, per vector. */
  private final class SlowTile implements GemmTile {
    private final GemmTile inner = Simd.provider().gemmTile();
    double storing = 0.3;
    double summing = 0.3;
    double twoRows = 0.4;
    int timed;

    @Override
    public int maxRows() {
      return inner.maxRows();
    }

    @Override
    public int nextRows(int left) {
      return inner.nextRows(left);
    }

    @Override
    public int lanes() {
      return inner.lanes();
    }

    @Override
    public int maxVectors() {
      return inner.maxVectors();
    }

    private void pass(int rows, int vectors, int k, double time) {
      timed++;
      now += Math.round(rows * vectors * k * (rows <= 2 ? twoRows : time));
    }

    @Override
    public void store(
        int rows,
        int vectors,
        int k,
        long a,
        long rowStrideA,
        long colStrideA,
        long b,
        long ldb,
        long c,
        long ldc) {
      inner.store(rows, vectors, k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      pass(rows, vectors, k, storing);
    }

    @Override
    public void sum(
        int rows,
        int vectors,
        int k,
        long a,
        long rowStrideA,
        long colStrideA,
        long b,
        long ldb,
        long d,
        long ldd,
        long c,
        long ldc) {
      inner.sum(rows, vectors, k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      pass(rows, vectors, k, summing);
    }

    @Override
    public void copyRows(int rows, int n, long from, long fromStride, long to, long toStride) {
      inner.copyRows(rows, n, from, fromStride, to, toStride);
    }

    @Override
    public void addRows(int rows, int n, long from, long fromStride, long to, long toStride) {
      inner.addRows(rows, n, from, fromStride, to, toStride);
    }
  }

  @BeforeEach
  void listen() {
    logger.setUseParentHandlers(false);
    logger.addHandler(handler);
  }

  @AfterEach
  void release() {
    logger.removeHandler(handler);
    logger.setUseParentHandlers(true);
    NativeFloats.releaseAll();
  }

  /** The tiles in use after some seconds, with a product every 10 ms. */
  private GemmTile after(TileChoice choice, int seconds) {
    for (long end = now + seconds * SECOND; now < end; now += SECOND / 100) {
      choice.current();
    }
    return choice.current();
  }

  private TileChoice choice() {
    return new TileChoice(tile, null, () -> now);
  }

  /** With products of a tenth of a millisecond, each shorter than one run of the slow tiles. */
  @Test
  void practiceTakesTwoPerCentOfTheTimeWhateverProductsTake() {
    tile.summing = 100;
    TileChoice choice = choice();
    long practised = 0;
    for (long end = now + 8 * SECOND; now < end; now += SECOND / 10_000) {
      long before = now;
      choice.current();
      practised += now - before;
    }
    assertTrue(practised > SECOND / 50, practised + " ns");
    assertTrue(practised < 8 * SECOND / 40, practised + " ns");
  }

  @Test
  void leavesFastTilesAlone() {
    TileChoice choice = choice();
    assertSame(tile, after(choice, 2));
    assertEquals(0, tile.timed, "timed too early");
    assertSame(tile, after(choice, 100));
    assertEquals(8, tile.timed, "timed more than once");
    assertEquals(List.of(), logged);
  }

  @Test
  void waitsForTheCompiler() {
    TileChoice choice = choice();
    tile.storing = 100;
    assertSame(tile, after(choice, 8));
    tile.storing = 0.3;
    assertSame(tile, after(choice, 100));
    assertEquals(List.of(), logged);
  }

  /** What is not used is compiled by the check itself, which takes two per cent of the time. */
  @Test
  void practisesWhatIsNotUsed() {
    TileChoice choice = choice();
    tile.summing = 25;
    tile.twoRows = 50;
    long begin = now;
    long products = 0;
    for (; now < begin + 8 * SECOND; now += SECOND / 100) {
      assertSame(tile, choice.current());
      products++;
    }
    assertTrue(tile.timed > 1000, "practice: " + tile.timed);
    double practice = (double) (now - begin) / (products * (SECOND / 100)) - 1;
    assertTrue(practice < 0.04, "share of time: " + practice);
    tile.summing = 0.3;
    assertSame(tile, after(choice, 100));
    assertEquals(List.of(), logged);
  }

  @Test
  void replacesTilesThatStaySlow() {
    TileChoice choice = choice();
    tile.summing = 25;
    assertSame(tile, after(choice, 8));
    GemmTile other = after(choice, 8);
    assertNotSame(tile, other);
    assertEquals(1, logged.size());
    String times = "(25.0 ns per vector, by two rows 0.4)";
    assertTrue(logged.getFirst().contains(times), logged::getFirst);
    assertTrue(logged.getFirst().contains("-Dsfumato.tile.check=off"), logged::getFirst);
    assertSame(other, after(choice, 100));
    int timed = tile.timed;
    assertSame(other, after(choice, 1000));
    assertEquals(timed, tile.timed, "checked after the choice was made");
    assertEquals(1, logged.size());
  }

  @Test
  void goesBackWhenTheTileIsCompiledLate() {
    TileChoice choice = choice();
    tile.storing = 25;
    assertNotSame(tile, after(choice, 16));
    tile.storing = 0.3;
    assertSame(tile, after(choice, 100));
    assertEquals(2, logged.size());
  }

  @Test
  void staysWhereTheOtherIsNoFaster() {
    TileChoice choice = choice();
    tile.storing = 25;
    tile.twoRows = 20;
    for (int i = 0; i < 100; i++) {
      assertSame(tile, after(choice, 1));
    }
    assertEquals(1, logged.size());
    assertTrue(logged.getFirst().contains("does this JVM run"), logged::getFirst);
    int timed = tile.timed;
    after(choice, 100);
    assertEquals(timed, tile.timed, "checked after it gave up");
  }

  @Test
  void canBeTurnedOff() {
    TileChoice choice = new TileChoice(tile, "off", () -> now);
    tile.storing = 1000;
    assertSame(tile, after(choice, 100));
    assertEquals(0, tile.timed);
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> new TileChoice(tile, "yes"));
    assertEquals("system property sfumato.tile.check must be on or off; got yes", e.getMessage());
  }

  @Test
  void resultsAreTheSameBits() {
    TileChoice choice = choice();
    tile.storing = 25;
    GemmTile split = after(choice, 16);
    for (int[] size : new int[][] {{1, 5, 3}, {6, 64, 40}, {37, 150, 70}, {64, 48, 2100}}) {
      int m = size[0];
      int n = size[1];
      int k = size[2];
      NativeFloats a = NativeFloats.random(m * k, 1);
      NativeFloats b = NativeFloats.random(k * n, 2);
      NativeFloats bias = NativeFloats.random(n, 3);
      float[][] results = new float[2][];
      for (int i = 0; i < 2; i++) {
        NativeFloats c = NativeFloats.random(m * n, 4);
        Matrix left = Matrix.rowMajor(a.address, k);
        Matrix right = Matrix.rowMajor(b.address, n);
        Matrix out = Matrix.rowMajor(c.address, n);
        GemmTile used = i == 0 ? tile : split;
        Gemm.multiply(used, 1, m, n, k, left, right, out, true, bias.address);
        results[i] = c.toArray();
      }
      assertArrayEquals(results[0], results[1]);
    }
  }
}
