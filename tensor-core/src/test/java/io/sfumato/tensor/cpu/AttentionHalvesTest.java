// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.AttentionProblem.Mask;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import io.sfumato.tensor.exec.Elements;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Attention of bfloat16 on a matrix unit against that of the same values in f32. */
class AttentionHalvesTest {
  private final int threads = Parallel.threads();

  @AfterEach
  void restore() {
    Parallel.setThreads(threads);
    Loops.use(Simd.provider());
  }

  /** The processor's unit if it has one, and an emulated one. */
  private static List<SimdProvider> withUnit() {
    return NativeFloats.productProviders().stream()
        .filter(p -> p.gemmTile().unit() != null)
        .toList();
  }

  private static long random(Arena arena, int n, long seed) {
    long at = arena.allocate(2L * n, 64).address();
    Random random = new Random(seed);
    for (int i = 0; i < n; i++) {
      Elements.put(DType.BF16, at + 2L * i, random.nextGaussian());
    }
    return at;
  }

  private static long widened(Arena arena, long from, int n) {
    long at = arena.allocate(4L * n, 64).address();
    for (int i = 0; i < n; i++) {
      Memory.putFloat(at + 4L * i, (float) Elements.get(DType.BF16, from + 2L * i));
    }
    return at;
  }

  /** Operands and results of one type, q, k, v, dout, out, dq, dk, dv, and the log-sum-exp. */
  private record Run(Matrix[] x, long lse) {
    static Run of(Arena arena, AttentionProblem p, DType type, long[] operands) {
      Matrix[] x = new Matrix[8];
      for (int i = 0; i < 8; i++) {
        int rows = i == 1 || i == 2 || i >= 6 ? p.keys() : p.queries();
        long bytes = (long) type.bytes() * p.batch() * p.heads() * rows * p.dim();
        long at = i < 4 ? operands[i] : arena.allocate(bytes, 64).address();
        x[i] = Matrix.contiguous(at, p.heads(), rows, p.dim(), type);
      }
      return new Run(x, arena.allocate(4L * p.batch() * p.heads() * p.queries(), 64).address());
    }

    void compute(AttentionProblem p) {
      forward(p);
      backward(p);
    }

    void forward(AttentionProblem p) {
      AttentionKernel.forward(p, x[0], x[1], x[2], x[4], lse);
    }

    void backward(AttentionProblem p) {
      AttentionKernel.backward(p, x[0], x[1], x[2], x[4], lse, x[3], x[5], x[6], x[7]);
    }

    double[] values(AttentionProblem p, int i) {
      int rows = i == 1 || i == 2 || i >= 6 ? p.keys() : p.queries();
      double[] y = new double[p.batch() * p.heads() * rows * p.dim()];
      for (int e = 0; e < y.length; e++) {
        DType type = x[i].type();
        y[e] = Elements.get(type, x[i].address() + (long) e * type.bytes());
      }
      return y;
    }
  }

  private static AttentionProblem problem(
      Arena arena, int batch, int heads, int queries, int keys, int dim, int masking) {
    Mask mask = null;
    if (masking == 2) {
      long bytes = arena.allocate((long) queries * keys, 64).address();
      Random random = new Random(9);
      for (int i = 0; i < queries * keys; i++) {
        Memory.putByte(bytes + i, (byte) (random.nextInt(4) > 0 || i % keys == 0 ? 1 : 0));
      }
      mask = new Mask(bytes, true, 0, 0, keys);
    }
    float scale = (float) (1.3 / Math.sqrt(dim));
    return new AttentionProblem(batch, heads, queries, keys, dim, scale, masking == 1, mask);
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1, 1, 1, 1",
    "1, 2, 5, 7, 3",
    "2, 1, 48, 64, 64",
    "1, 2, 50, 33, 40",
    "1, 1, 140, 300, 72",
    "1, 1, 3, 600, 24",
    "1, 1, 200, 3, 8",
    "17, 1, 49, 17, 32"
  })
  void agreesWithFloats(int batch, int heads, int queries, int keys, int dim) {
    for (SimdProvider provider : withUnit()) {
      for (int masking = 0; masking < 3; masking++) {
        try (Arena arena = Arena.ofShared()) {
          AttentionProblem p = problem(arena, batch, heads, queries, keys, dim, masking);
          long[] halves = new long[4];
          long[] floats = new long[4];
          for (int i = 0; i < 4; i++) {
            int n = batch * heads * (i == 1 || i == 2 ? keys : queries) * dim;
            halves[i] = random(arena, n, i);
            floats[i] = widened(arena, halves[i], n);
          }
          Loops.use(Simd.scalar());
          Run wide = Run.of(arena, p, DType.F32, floats);
          wide.forward(p);
          Loops.use(provider);
          Run half = Run.of(arena, p, DType.BF16, halves);
          half.forward(p);
          assertNear(wide.values(p, 4), half.values(p, 4), 0x1p-9, "masking " + masking);
          half.backward(p);
          Loops.use(Simd.scalar());
          double[] out = half.values(p, 4); // gradients are those of what was rounded
          for (int e = 0; e < out.length; e++) {
            Memory.putFloat(wide.x[4].address() + 4L * e, (float) out[e]);
          }
          wide.backward(p);
          for (int i = 5; i < 8; i++) {
            String what = "masking " + masking + ", result " + i;
            assertNear(wide.values(p, i), half.values(p, i), 0x1p-14, what);
          }
          for (int i = 0; i < batch * heads * queries; i++) {
            float expected = Memory.getFloat(wide.lse + 4L * i);
            assertEquals(expected, Memory.getFloat(half.lse + 4L * i), 1e-5 * Math.abs(expected));
          }
        }
      }
    }
  }

  /** Up to a rounding, and an error relative to the largest value. */
  private static void assertNear(double[] expected, double[] got, double error, String what) {
    double most = 0;
    for (double x : expected) {
      most = Math.max(most, Math.abs(x));
    }
    for (int e = 0; e < got.length; e++) {
      double limit = 1.001 * 0x1p-8 * Math.abs(expected[e]) + error * most;
      assertEquals(expected[e], got[e], limit, what + ", element " + e);
    }
  }

  @Test
  void resultsDoNotDependOnTheNumberOfThreads() {
    Loops.use(withUnit().getLast());
    try (Arena arena = Arena.ofShared()) {
      AttentionProblem p = problem(arena, 1, 1, 130, 600, 32, 1);
      long[] operands = new long[4];
      for (int i = 0; i < 4; i++) {
        operands[i] = random(arena, 600 * 32, i);
      }
      double[][] first = new double[8][];
      for (int t = 1; t <= 3; t++) {
        Parallel.setThreads(t);
        Run run = Run.of(arena, p, DType.BF16, operands);
        run.compute(p);
        for (int i = 4; i < 8; i++) {
          if (t == 1) {
            first[i] = run.values(p, i);
          } else {
            assertArrayEquals(first[i], run.values(p, i));
          }
        }
      }
    }
  }

  @Test
  void refusesWhatMustBeWidened() {
    Loops.use(withUnit().getLast());
    assertNull(AttentionKernel.refuseHalves(512));
    assertNotNull(AttentionKernel.refuseHalves(513));
    Loops.use(Simd.scalar());
    assertNotNull(AttentionKernel.refuseHalves(64));
  }
}
