// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.ops.NearestCode;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The nearest code by both providers against the definition in f64. */
class NearestCodeKernelTest {
  private final int threads = Parallel.threads();

  @AfterEach
  void restore() {
    NativeFloats.releaseAll();
    Loops.use(Simd.provider());
    Parallel.setThreads(threads);
  }

  @Test
  void isTheDefinitionAtAnySize() {
    int[][] sizes = { // vectors, codes, length
      {1, 1, 1},
      {1, 5, 3},
      {7, 16, 8},
      {65, 17, 5},
      {130, 100, 33},
      {64, 512, 64},
      {9, 2050, 16},
      {200, 31, 1},
      {3, 129, 1100},
      {33, 40000, 2}
    };
    for (int[] s : sizes) {
      NativeFloats x = NativeFloats.random(s[0] * s[2], 1);
      NativeFloats codes = NativeFloats.random(s[1] * s[2], 2);
      check(s[0], s[1], s[2], x, codes);
    }
  }

  @Test
  void closeCodesAreToldApart() {
    NativeFloats x = NativeFloats.random(300 * 12, 3, 1000, 0.01);
    NativeFloats codes = NativeFloats.random(90 * 12, 4, 1000, 0.01);
    check(300, 90, 12, x, codes);
  }

  @Test
  void ofEqualCodesTheFirstIsTaken() {
    int d = 24;
    NativeFloats x = NativeFloats.random(70 * d, 5);
    NativeFloats codes = NativeFloats.random(60 * d, 6);
    for (int i = 0; i < 30 * d; i++) {
      codes.set(30 * d + i, codes.get(i));
    }
    long[] got = check(70, 60, d, x, codes);
    for (long k : got) {
      assertEquals(k % 30, k);
    }
  }

  @Test
  void codesOfNanAndInfinityAreNeverNearest() {
    NativeFloats x = NativeFloats.random(20 * 3, 7);
    NativeFloats codes = NativeFloats.random(10 * 3, 8);
    codes.set(3, Float.NaN);
    codes.set(0, Float.POSITIVE_INFINITY);
    x.set(5 * 3, Float.NaN);
    long[] got = check(20, 10, 3, x, codes);
    assertEquals(0, got[5]);
  }

  private static long[] check(int m, int codes, int d, NativeFloats x, NativeFloats codebook) {
    Dense[] in = {dense(x, m, d), dense(codebook, codes, d)};
    Dense out = Dense.zeros(Shape.of(m), DType.I64);
    new NearestCode().reference(in, new Dense[] {out});
    long[] expected = new long[m];
    for (int i = 0; i < m; i++) {
      expected[i] = (long) out.data()[i];
    }
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int workers = 1; workers <= 3; workers++) {
        Parallel.setThreads(workers);
        NativeFloats result = new NativeFloats(2 * m);
        NearestCodeKernel.run(
            m, codes, d, Matrix.rowMajor(x.address, d), codebook.address, result.address);
        long[] got = new long[m];
        for (int i = 0; i < m; i++) {
          got[i] = Memory.getLong(result.address + 8L * i);
        }
        String what = provider.name() + ": " + m + " vectors, " + codes + " codes of " + d;
        assertArrayEquals(expected, got, what);
      }
    }
    return expected;
  }

  private static Dense dense(NativeFloats values, int rows, int columns) {
    Dense y = Dense.zeros(Shape.of(rows, columns), DType.F32);
    for (int i = 0; i < rows * columns; i++) {
      y.data()[i] = values.get(i);
    }
    return y;
  }
}
