// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Softmax, its logarithm and cross-entropy of both providers against double precision. */
class SoftmaxTest {
  private static final int[] SIZES = {1, 7, 15, 16, 17, 31, 33, 100, 1023};

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
        Softmax.forward(x.address, y.address, rows, n);
        y.check(p, 1e-6, 0, "softmax");
        Softmax.backward(y.address, dy.address, dx.address, rows, n);
        dx.check(gradient, 2e-6, 0.01, "softmax backward");
        Softmax.logForward(x.address, y.address, rows, n);
        y.check(log, 1e-6, 1, "log-softmax");
        Softmax.logBackward(y.address, dy.address, dx.address, rows, n);
        dx.check(logGradient, 3e-6, 1, "log-softmax backward");
        Softmax.forward(x.address, x.address, rows, n);
        x.check(p, 1e-6, 0, "softmax in place");
      }
    }
  }

  @Test
  void infinitiesAndNansBehaveAsInPyTorch() {
    float inf = Float.POSITIVE_INFINITY;
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      NativeFloats x = NativeFloats.of(0, -inf, 0, -inf, -inf, -inf, 1, Float.NaN, 2, 0, inf, 0);
      NativeFloats y = new NativeFloats(12);
      Softmax.forward(x.address, y.address, 4, 3);
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

  @Test
  void crossEntropyFollowsDoublePrecision() {
    int rows = 6;
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : SIZES) {
        NativeFloats x = NativeFloats.random(rows * n, n, 0, 3);
        NativeFloats targets = new NativeFloats(rows * 2);
        for (int r = 0; r < rows; r++) {
          Memory.putLong(targets.address + r * 8L, r == 2 ? -100 : (r * 31) % n);
        }
        NativeFloats loss = new NativeFloats(rows);
        NativeFloats lse = new NativeFloats(rows);
        NativeFloats dloss = NativeFloats.random(rows, 4);
        NativeFloats dx = new NativeFloats(rows * n);
        double[] p = probabilities(x, rows, n);
        double[] expected = new double[rows];
        double[] gradient = new double[rows * n];
        for (int r = 0; r < rows; r++) {
          if (r != 2) {
            int t = (r * 31) % n;
            expected[r] = -Math.log(p[r * n + t]);
            for (int j = 0; j < n; j++) {
              gradient[r * n + j] = dloss.get(r) * (p[r * n + j] - (j == t ? 1 : 0));
            }
          }
        }
        Softmax.crossEntropy(x.address, targets.address, -100, loss.address, lse.address, rows, n);
        loss.check(expected, 1e-6, 5, "loss");
        Softmax.crossEntropyBackward(
            x.address, targets.address, -100, lse.address, dloss.address, dx.address, rows, n);
        dx.check(gradient, 2e-6, 1, "loss backward");
      }
    }
  }

  @Test
  void crossEntropyRejectsAnUnknownClass() {
    NativeFloats x = NativeFloats.random(3, 1);
    NativeFloats target = new NativeFloats(2);
    Memory.putLong(target.address, 3);
    NativeFloats out = new NativeFloats(2);
    Throwable t =
        assertThrows(
            IndexOutOfBoundsException.class,
            () ->
                Softmax.crossEntropy(
                    x.address, target.address, -100, out.address, out.address + 4, 1, 3));
    assertTrue(t.getMessage().contains("[0, 3); got 3"), t.getMessage());
  }
}
