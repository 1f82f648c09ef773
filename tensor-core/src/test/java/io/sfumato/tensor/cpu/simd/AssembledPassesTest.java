// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.OptimizerLoops;
import io.sfumato.tensor.cpu.OptimizerLoops.AdamStep;
import io.sfumato.tensor.cpu.RowLoops;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Loops of machine code against those over the Vector API, bit for bit but for which NaN it is. */
class AssembledPassesTest {
  /** Floats behind each operand that nothing may write. */
  private static final int GUARDS = 20;

  private static final float GUARD = -77.5f;
  private static final double EPSILON = 1e-5;

  private AssembledPasses assembled;

  @BeforeEach
  void make() {
    assumeTrue(
        AssembledTile.of(VectorGemmTile.of(null), null, null) != null,
        "no machine code on this machine");
    assembled = new AssembledPasses();
  }

  @Test
  void adamGivesTheBitsOfVectors() {
    OptimizerLoops vectors = new VectorOptimizerLoops(null);
    OptimizerLoops ours = new VectorOptimizerLoops(assembled);
    for (int n : new int[] {1, 2, 15, 16, 17, 31, 33, 512, 1000, 1029}) {
      for (boolean decoupled : new boolean[] {false, true}) {
        AdamStep step = new AdamStep(1e-2, 0.9, 0.999, 1e-8, 0.1, decoupled, 0.271, 0.0297, 0.5);
        for (float rate : new float[] {0, 1e-3f}) {
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment[] a = operands(arena, n, 5);
            MemorySegment[] b = operands(arena, n, 5);
            run(vectors, a, n, step, rate);
            run(ours, b, n, step, rate);
            for (int i = 0; i < a.length; i++) {
              assertSame(a[i], b[i], "operand " + i + " of " + n + ", rate " + rate);
            }
          }
        }
      }
    }
  }

  private static void run(
      OptimizerLoops loops, MemorySegment[] at, int n, AdamStep step, float rate) {
    long p = at[0].address();
    long g = at[1].address();
    long m = at[2].address();
    long v = at[3].address();
    if (rate == 0) {
      loops.adam(p, g, m, v, n, step);
    } else {
      loops.adamAverage(p, g, m, v, at[4].address(), n, step, rate);
    }
  }

  @Test
  void layerNormGivesTheBitsOfVectors() {
    for (int n : new int[] {1, 2, 3, 5, 15, 16, 17, 64, 100, 384, 1029, 4096, 4097}) {
      for (int rows : new int[] {1, 3, 4, 5, 8, 23}) {
        check(rows, n, x -> {}, n + " columns");
      }
    }
  }

  /** In one row of a group, in several, in the first and the last one. */
  @Test
  void rowsThatThePilotDoesNotServeAreDoneAgain() {
    for (int n : new int[] {33, 384}) {
      for (int far : new int[] {0, 3, 5, 6, 11, 12}) {
        check(
            13,
            n,
            x -> {
              for (int k = 0; k < 4; k++) {
                put(x, far * n + n / 4 * k, 1e4f + k);
              }
            },
            "row " + far + " of " + n + " columns");
      }
      check(
          13,
          n,
          x -> {
            for (int r = 0; r < 13; r++) {
              put(x, r * n, 1e6f);
            }
          },
          "every row of " + n + " columns");
    }
  }

  @Test
  void valuesThatAreNotNumbersStayInTheirRow() {
    for (float odd : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.MAX_VALUE}) {
      for (int at : new int[] {0, 7, 40}) {
        check(9, 41, x -> put(x, 5 * 41 + at, odd), odd + " in column " + at);
      }
    }
    check(8, 40, x -> x.fill((byte) 0), "zeros");
  }

  private interface Change {
    void apply(MemorySegment x);
  }

  private void check(int rows, int n, Change change, String what) {
    RowLoops vectors = new VectorRowLoops(new VectorReduceLoops(), null);
    RowLoops ours = new VectorRowLoops(new VectorReduceLoops(), assembled);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment x = floats(arena, rows * n, 1);
      change.apply(x.asSlice(0, rows * n * 4L));
      MemorySegment w = floats(arena, n, 2);
      MemorySegment b = floats(arena, n, 3);
      MemorySegment[] theirs = results(arena, rows, n);
      MemorySegment[] mine = results(arena, rows, n);
      norm(vectors, x, theirs, rows, n, w.address(), b.address());
      norm(ours, x, mine, rows, n, w.address(), b.address());
      String message = rows + " rows, " + what;
      for (int i = 0; i < mine.length; i++) {
        assertSame(theirs[i], mine[i], message + ", result " + i);
      }
      norm(vectors, x, theirs, rows, n, 0, 0);
      norm(ours, x, mine, rows, n, 0, 0);
      assertSame(theirs[0], mine[0], message + ", without weights");
      norm(vectors, x, theirs, rows, n, w.address(), b.address());
      norm(ours, x, new MemorySegment[] {x, mine[1], mine[2]}, rows, n, w.address(), b.address());
      assertSame(theirs[0], x, message + ", in place");
    }
  }

  @Test
  void gradientsOfNormsHaveTheBitsOfVectors() {
    for (int n : new int[] {1, 2, 5, 15, 16, 17, 64, 100, 384, 1029, 5000}) {
      for (int rows : new int[] {1, 2, 3, 8, 9}) {
        for (boolean centred : new boolean[] {false, true}) {
          checkGradient(rows, n, centred, false);
        }
      }
    }
    checkGradient(7, 41, true, true);
    checkGradient(7, 41, false, true);
  }

  private void checkGradient(int rows, int n, boolean centred, boolean odd) {
    RowLoops vectors = new VectorRowLoops(new VectorReduceLoops(), null);
    RowLoops ours = new VectorRowLoops(new VectorReduceLoops(), assembled);
    String what = rows + " rows of " + n + (centred ? ", centred" : "") + (odd ? ", odd" : "");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment x = floats(arena, rows * n, 1);
      MemorySegment dy = floats(arena, rows * n, 2);
      if (odd) {
        put(x, 2 * n + 7, Float.NaN);
        put(dy, 3 * n + 40, Float.NEGATIVE_INFINITY);
        put(dy, 5 * n, Float.MAX_VALUE);
      }
      long mean = centred ? floats(arena, rows, 3).address() : 0;
      long rstd = floats(arena, rows, 4).address();
      long w = floats(arena, n, 5).address();
      MemorySegment[] theirs = gradients(arena, rows, n);
      MemorySegment[] mine = gradients(arena, rows, n);
      gradient(vectors, x, dy, theirs, rows, n, mean, rstd, w, centred);
      gradient(ours, x, dy, mine, rows, n, mean, rstd, w, centred);
      for (int i = 0; i < mine.length; i++) {
        assertSame(theirs[i], mine[i], what + ", result " + i);
      }
      mine[0] = dy;
      gradient(ours, x, dy, mine, rows, n, mean, rstd, w, centred);
      assertSame(theirs[0], dy, what + ", in place");
    }
  }

  private static MemorySegment[] gradients(Arena arena, int rows, int n) {
    return new MemorySegment[] {
      floats(arena, rows * n, 6), floats(arena, n, 7), floats(arena, n, 8)
    };
  }

  private static void gradient(
      RowLoops loops,
      MemorySegment x,
      MemorySegment dy,
      MemorySegment[] to,
      int rows,
      int n,
      long mean,
      long rstd,
      long w,
      boolean centred) {
    loops.normalizeGradient(
        x.address(),
        dy.address(),
        to[0].address(),
        rows,
        n,
        mean,
        rstd,
        w,
        centred,
        to[1].address(),
        to[2].address());
  }

  private static MemorySegment[] results(Arena arena, int rows, int n) {
    return new MemorySegment[] {
      floats(arena, rows * n, 4), floats(arena, rows, 5), floats(arena, rows, 6)
    };
  }

  private static void norm(
      RowLoops loops, MemorySegment x, MemorySegment[] to, int rows, int n, long w, long b) {
    loops.layerNorm(
        x.address(), to[0].address(), rows, n, to[1].address(), to[2].address(), EPSILON, w, b);
  }

  private static MemorySegment[] operands(Arena arena, int n, int count) {
    var operands = new MemorySegment[count];
    for (int i = 0; i < count; i++) {
      operands[i] = floats(arena, n, i);
      for (int k = 0; i == 3 && k < n; k++) { // second moments
        put(operands[i], k, Math.abs(get(operands[i], k)));
      }
    }
    return operands;
  }

  private static MemorySegment floats(Arena arena, int n, long seed) {
    MemorySegment memory = arena.allocate(4L * (n + GUARDS) + 4, 64).asSlice(4);
    var random = new Random(seed);
    for (int i = 0; i < n + GUARDS; i++) {
      put(memory, i, i < n ? (float) random.nextGaussian() + 0.5f : GUARD);
    }
    return memory;
  }

  private static void put(MemorySegment memory, int i, float value) {
    Memory.putFloat(memory.address() + 4L * i, value);
  }

  private static float get(MemorySegment memory, int i) {
    return Memory.getFloat(memory.address() + 4L * i);
  }

  private static void assertSame(MemorySegment expected, MemorySegment actual, String what) {
    for (int i = 0; i < expected.byteSize() / 4; i++) {
      assertEquals(
          Float.floatToIntBits(get(expected, i)), Float.floatToIntBits(get(actual, i)), () -> what);
    }
  }
}
