// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Softmax and its logarithm of both providers against double precision. */
class SoftmaxKernelTest {
  private static final int[] SIZES = {1, 7, 15, 16, 17, 31, 33, 100, 1023, 2055};

  @AfterEach
  void restore() {
    NativeFloats.releaseAll();
    Loops.use(Simd.provider());
  }

  private static double[] probabilities(NativeFloats x, int rows, int n) {
    double[] p = new double[rows * n];
    for (int r = 0; r < rows; r++) {
      double max = Double.NEGATIVE_INFINITY;
      for (int j = 0; j < n; j++) {
        max = Math.max(max, x.get(r * n + j));
      }
      double sum = 0;
      for (int j = 0; j < n; j++) {
        sum += p[r * n + j] = Math.exp(x.get(r * n + j) - max);
      }
      for (int j = 0; j < n; j++) {
        p[r * n + j] /= sum;
      }
    }
    return p;
  }

  @Test
  void forwardAndBackwardFollowDoublePrecision() {
    int rows = 5;
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : SIZES) {
        NativeFloats x = NativeFloats.random(rows * n, n, 500, 2);
        NativeFloats dy = NativeFloats.random(rows * n, n + 1);
        NativeFloats y = new NativeFloats(rows * n);
        NativeFloats dx = new NativeFloats(rows * n);
        double[] p = probabilities(x, rows, n);
        double[] log = new double[rows * n];
        double[] gradient = new double[rows * n];
        double[] logGradient = new double[rows * n];
        for (int r = 0; r < rows; r++) {
          double dot = 0;
          double sum = 0;
          for (int i = r * n; i < (r + 1) * n; i++) {
            dot += p[i] * dy.get(i);
            sum += dy.get(i);
          }
          for (int i = r * n; i < (r + 1) * n; i++) {
            gradient[i] = p[i] * (dy.get(i) - dot);
            logGradient[i] = dy.get(i) - p[i] * sum;
            log[i] = Math.log(p[i]);
          }
        }
        SoftmaxKernel.forward(x.address, y.address, rows, n);
        y.check(p, 1e-6, 0, "softmax");
        SoftmaxKernel.backward(y.address, dy.address, dx.address, rows, n);
        dx.check(gradient, 2e-6, 0.01, "softmax backward");
        SoftmaxKernel.logForward(x.address, y.address, rows, n);
        y.check(log, 1e-6, 1, "log-softmax");
        SoftmaxKernel.logBackward(y.address, dy.address, dx.address, rows, n);
        dx.check(logGradient, 3e-6, 1, "log-softmax backward");
        SoftmaxKernel.forward(x.address, x.address, rows, n);
        x.check(p, 1e-6, 0, "softmax in place");
      }
    }
  }

  /** So that they do not depend on how many threads share the rows. */
  @Test
  void rowsDoNotDependOnTheirNeighbours() {
    int rows = 4;
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : SIZES) {
        NativeFloats x = NativeFloats.random(rows * n, n, 0, 3);
        NativeFloats y = new NativeFloats(rows * n);
        NativeFloats alone = new NativeFloats(n);
        for (boolean log : new boolean[] {false, true}) {
          forward(log, x.address, y.address, rows, n);
          for (int r = 0; r < rows; r++) {
            forward(log, x.address + r * 4L * n, alone.address, 1, n);
            for (int i = 0; i < n; i++) {
              assertEquals(alone.get(i), y.get(r * n + i), "row " + r + " of " + n);
            }
          }
        }
      }
    }
  }

  private static void forward(boolean log, long x, long y, int rows, int n) {
    if (log) {
      SoftmaxKernel.logForward(x, y, rows, n);
    } else {
      SoftmaxKernel.forward(x, y, rows, n);
    }
  }

  @Test
  void infinitiesAndNansBehaveAsInPyTorch() {
    float inf = Float.POSITIVE_INFINITY;
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      NativeFloats x = NativeFloats.of(0, -inf, 0, -inf, -inf, -inf, 1, Float.NaN, 2, 0, inf, 0);
      NativeFloats y = new NativeFloats(12);
      SoftmaxKernel.forward(x.address, y.address, 4, 3);
      assertEquals(0.5f, y.get(0));
      assertEquals(0f, y.get(1));
      for (int i = 3; i < 9; i++) {
        assertTrue(Float.isNaN(y.get(i)), "element " + i);
      }
      assertTrue(Float.isNaN(y.get(10)));
      RowLoops loops = provider.loops().rows();
      assertEquals((float) Math.log(2), loops.logSumExp(x.address, 3), 1e-7f);
      assertEquals(-inf, loops.logSumExp(x.address + 12, 3));
      assertTrue(Float.isNaN(loops.logSumExp(x.address + 24, 3)));
      assertEquals(inf, loops.logSumExp(x.address + 36, 3));
    }
  }
}
