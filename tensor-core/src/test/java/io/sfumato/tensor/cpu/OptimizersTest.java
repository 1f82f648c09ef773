// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.OptimizerLoops.AdamStep;
import io.sfumato.tensor.cpu.OptimizerLoops.SgdStep;
import io.sfumato.tensor.exec.Elements;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Optimizer updates and resampling of both providers against double precision. */
class OptimizersTest {
  @AfterEach
  void restore() {
    NativeFloats.releaseAll();
    Loops.use(Simd.provider());
  }

  @Test
  void adamFollowsItsFormula() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : ElementwiseLoopsTest.SIZES) {
        for (boolean decoupled : new boolean[] {false, true}) {
          NativeFloats p = NativeFloats.random(n, 1);
          NativeFloats g = NativeFloats.random(n, 2);
          NativeFloats m = NativeFloats.random(n, 3, 0, 0.1);
          NativeFloats v = NativeFloats.random(n, 4, 0.5, 0.05);
          AdamStep s = new AdamStep(1e-2, 0.9, 0.99, 1e-8, 0.1, decoupled, 0.271, 0.0297, 0.5);
          double[] ep = new double[n];
          double[] em = new double[n];
          double[] ev = new double[n];
          for (int i = 0; i < n; i++) {
            double gradient = 0.5 * g.get(i) + (decoupled ? 0 : 0.1 * p.get(i));
            em[i] = 0.9 * m.get(i) + 0.1 * gradient;
            ev[i] = 0.99 * v.get(i) + 0.01 * gradient * gradient;
            double kept = decoupled ? p.get(i) * (1 - 1e-3) : p.get(i);
            ep[i] = kept - 1e-2 * (em[i] / 0.271) / (Math.sqrt(ev[i] / 0.0297) + 1e-8);
          }
          Optimizers.adam(p.address, g.address, m.address, v.address, n, s);
          m.check(em, 1e-6, 0.1, "m");
          v.check(ev, 1e-6, 0, "v");
          p.check(ep, 1e-6, 0.1, "p");
        }
      }
    }
  }

  @Test
  void sgdFollowsItsFormula() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : ElementwiseLoopsTest.SIZES) {
        for (boolean nesterov : new boolean[] {false, true}) {
          NativeFloats p = NativeFloats.random(n, 1);
          NativeFloats plain = p.copy();
          NativeFloats g = NativeFloats.random(n, 2);
          NativeFloats v = NativeFloats.random(n, 3);
          SgdStep s = new SgdStep(0.1, 0.9, nesterov ? 0 : 0.2, 0.05, nesterov, 2);
          double[] ep = new double[n];
          double[] ev = new double[n];
          double[] eplain = new double[n];
          for (int i = 0; i < n; i++) {
            double gradient = 2.0 * g.get(i) + 0.05 * p.get(i);
            eplain[i] = p.get(i) - 0.1 * gradient;
            ev[i] = 0.9 * v.get(i) + (nesterov ? 1 : 0.8) * gradient;
            ep[i] = p.get(i) - 0.1 * (nesterov ? gradient + 0.9 * ev[i] : ev[i]);
          }
          Optimizers.sgd(plain.address, g.address, n, s);
          plain.check(eplain, 1e-6, 0.5, "sgd");
          Optimizers.sgdMomentum(p.address, g.address, v.address, n, s);
          v.check(ev, 1e-6, 1, "velocity");
          p.check(ep, 1e-6, 0.5, "momentum");
        }
      }
    }
  }

  @Test
  void emaMovesTowardsTheParameters() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : ElementwiseLoopsTest.SIZES) {
        NativeFloats a = NativeFloats.random(n, 1);
        NativeFloats p = NativeFloats.random(n, 2);
        double[] e = new double[n];
        for (int i = 0; i < n; i++) {
          e[i] = 0.75 * a.get(i) + 0.25 * p.get(i);
        }
        Optimizers.ema(a.address, p.address, n, 0.75f);
        a.check(e, 2e-7, 1, "ema");
      }
    }
  }

  /** Many arrays in one loop give the bits of one call each, for any number of threads. */
  @Test
  void manyArraysGiveTheBitsOfOneCallEach() {
    int threads = Parallel.threads();
    int[] sizes = {3, 0, 0, 16384, 1, 40000, 0, 16385, 100, 0};
    int count = sizes.length;
    AdamStep s = new AdamStep(1e-2, 0.9, 0.99, 1e-8, 0.1, true, 0.271, 0.0297, 0.5);
    try {
      for (int some : new int[] {1, 2, 5}) {
        Parallel.setThreads(some);
        long[][] addresses = new long[5][count];
        long[] n = new long[count];
        NativeFloats[][] expected = new NativeFloats[5][count];
        NativeFloats[][] got = new NativeFloats[5][count];
        double total = 0;
        for (int k = 0; k < count; k++) {
          n[k] = sizes[k];
          for (int i = 0; i < 5; i++) {
            got[i][k] = NativeFloats.random(sizes[k], 5 * k + i, 0.5, 0.05);
            expected[i][k] = got[i][k].copy();
            addresses[i][k] = got[i][k].address;
          }
          long p = expected[0][k].address;
          total += Reductions.sumOfSquares(expected[1][k].address, n[k]);
          Optimizers.adam(
              p, expected[1][k].address, expected[2][k].address, expected[3][k].address, n[k], s);
          Optimizers.ema(expected[4][k].address, p, n[k], 0.75f);
        }
        assertEquals(total, Reductions.sumOfSquares(addresses[1], n));
        long[][] both = new long[5][count]; // the same in one pass
        NativeFloats[][] fused = new NativeFloats[5][count];
        for (int k = 0; k < count; k++) {
          for (int i = 0; i < 5; i++) {
            fused[i][k] = got[i][k].copy();
            both[i][k] = fused[i][k].address;
          }
        }
        Optimizers.adamAverage(both[0], both[1], DType.F32, both[2], both[3], both[4], n, s, 0.75f);
        Optimizers.adam(addresses[0], addresses[1], DType.F32, addresses[2], addresses[3], n, s);
        Optimizers.ema(addresses[4], addresses[0], n, 0.75f);
        for (int k = 0; k < count; k++) {
          for (int i = 0; i < 5; i++) {
            assertArrayEquals(expected[i][k].toArray(), got[i][k].toArray());
            assertArrayEquals(expected[i][k].toArray(), fused[i][k].toArray());
          }
        }
      }
    } finally {
      Parallel.setThreads(threads);
    }
    assertEquals(0, Reductions.sumOfSquares(new long[0], new long[0]));
  }

  /** Gradients of 16 bits are those widened, whatever the piece. */
  @Test
  void gradientsOfSixteenBits() {
    AdamStep s = new AdamStep(1e-2, 0.9, 0.99, 1e-8, 0.1, true, 0.271, 0.0297, 0.5);
    int n = 40001;
    for (DType type : new DType[] {DType.BF16, DType.F16}) {
      NativeFloats half = new NativeFloats((n + 1) / 2);
      NativeFloats[][] x = new NativeFloats[2][5];
      for (int i = 0; i < 5; i++) {
        x[0][i] = NativeFloats.random(n, i, 0.5, 0.05);
        x[1][i] = x[0][i].copy();
      }
      for (int i = 0; i < n; i++) {
        Elements.put(type, half.address + 2L * i, x[0][1].get(i));
        x[0][1].set(i, (float) Elements.get(type, half.address + 2L * i));
      }
      for (int i = 0; i < 2; i++) {
        long[][] at = new long[5][];
        for (int k = 0; k < 5; k++) {
          at[k] = new long[] {x[i][k].address};
        }
        DType gradients = i == 0 ? DType.F32 : type;
        long[] g = i == 0 ? at[1] : new long[] {half.address};
        long[] sizes = {n};
        Optimizers.adam(at[0], g, gradients, at[2], at[3], sizes, s);
        Optimizers.adamAverage(at[0], g, gradients, at[2], at[3], at[4], sizes, s, 0.75f);
      }
      for (int k : new int[] {0, 2, 3, 4}) {
        assertArrayEquals(x[0][k].toArray(), x[1][k].toArray());
      }
    }
  }

  @Test
  void resamplingByTwo() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int c : new int[] {1, 3, 16, 40}) {
        int batch = 2;
        int h = 3;
        int w = 5;
        NativeFloats small = NativeFloats.random(batch * h * w * c, 1);
        NativeFloats large = NativeFloats.random(4 * small.n, 2);
        double[] up = new double[large.n];
        double[] sum = new double[small.n];
        double[] quarter = new double[large.n];
        double[] mean = new double[small.n];
        for (int i = 0; i < large.n; i++) {
          int column = i / c % (2 * w);
          int row = i / (c * 2 * w);
          int from = (row / 2 * w + column / 2) * c + i % c;
          up[i] = small.get(from);
          quarter[i] = small.get(from) / 4;
          sum[from] += large.get(i);
          mean[from] += large.get(i) / 4;
        }
        NativeFloats toLarge = new NativeFloats(large.n);
        NativeFloats toSmall = new NativeFloats(small.n);
        Resampling.nearestTwice(small.address, toLarge.address, batch, h, w, c);
        toLarge.check(up, 0, 0, "nearest");
        Resampling.nearestTwiceBackward(large.address, toSmall.address, batch, h, w, c);
        toSmall.check(sum, 2e-7, 2, "nearest backward");
        Resampling.averageHalf(large.address, toSmall.address, batch, h, w, c);
        toSmall.check(mean, 2e-7, 1, "average");
        Resampling.averageHalfBackward(small.address, toLarge.address, batch, h, w, c);
        toLarge.check(quarter, 0, 0, "average backward");
      }
    }
  }
}
