// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.cpu.GroupNormKernel.Problem;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Group norm in both layouts, of both providers, against double precision. */
class GroupNormKernelTest {
  private static final double EPSILON = 1e-5;

  @AfterEach
  void restore() {
    NativeFloats.releaseAll();
    Loops.use(Simd.provider());
  }

  @Test
  void followsDoublePrecision() {
    int[][] shapes = { // batch, channels, spatial, groups
      {1, 3, 49, 1}, {2, 4, 1, 4}, {3, 32, 64, 32}, {2, 64, 130, 32}, {1, 96, 35, 32},
      {2, 40, 33, 5}, {1, 30, 600, 10}, {2, 7, 5, 7}, {1, 16, 2100, 1}, {1, 128, 70, 32},
      {2, 320, 131, 32}, {1, 324, 70, 6}, {1, 512, 30, 512}, {1, 640, 261, 32}
    };
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int[] s : shapes) {
        for (int options = 0; options < 8; options++) {
          Problem p = new Problem(s[0], s[1], s[2], s[3], (options & 1) != 0);
          check(p, (options & 2) != 0, (options & 4) != 0, 0.5, 2);
        }
      }
    }
  }

  @Test
  void aDistantFirstValueDoesNotSpoilTheVariance() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      check(new Problem(1, 32, 400, 8, false), true, true, 1000, 1);
      check(new Problem(1, 32, 400, 8, false), false, true, 1000, 1);
      check(new Problem(1, 320, 90, 8, false), true, true, 1000, 1);
    }
  }

  @Test
  void aPixelFarFromTheMeanIsNoPilot() {
    Problem p = new Problem(1, 512, 64, 4, false);
    int size = 512 * 64;
    double[] expected = new double[4];
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      NativeFloats x = NativeFloats.random(size, 1, 0.5, 1);
      for (int c = 0; c < 512; c++) {
        Memory.putFloat(x.address + 4L * c, 5000); // of the first pixel, and of the middle one
        Memory.putFloat(x.address + 4L * (32 * 512 + c), 5000);
      }
      for (int g = 0; g < 4; g++) {
        double mean = 0;
        double square = 0;
        for (int i = 0; i < 128 * 64; i++) {
          mean += x.get(i / 128 * 512 + g * 128 + i % 128) / (128 * 64);
        }
        for (int i = 0; i < 128 * 64; i++) {
          square += Math.pow(x.get(i / 128 * 512 + g * 128 + i % 128) - mean, 2) / (128 * 64);
        }
        expected[g] = 1 / Math.sqrt(square + EPSILON);
      }
      NativeFloats y = new NativeFloats(size);
      NativeFloats mean = new NativeFloats(4);
      NativeFloats rstd = new NativeFloats(4);
      GroupNormKernel.forwardChannelsLast(
          x.address, y.address, 0, 0, mean.address, rstd.address, p, EPSILON);
      rstd.check(expected, 1e-6, 0, "rstd");
    }
  }

  @Test
  void groupsMustDivideChannels() {
    Throwable t =
        assertThrows(IllegalArgumentException.class, () -> new Problem(1, 10, 4, 3, false));
    assertTrue(t.getMessage().contains("3 groups, 10 channels"), t.getMessage());
  }

  private static int index(Problem p, boolean last, int n, int c, int i) {
    return last
        ? (n * p.spatial() + i) * p.channels() + c
        : (n * p.channels() + c) * p.spatial() + i;
  }

  private static void check(Problem p, boolean last, boolean affine, double center, double spread) {
    int size = p.batch() * p.channels() * p.spatial();
    int stats = p.batch() * p.groups();
    NativeFloats x = NativeFloats.random(size, 1, center, spread);
    NativeFloats dy = NativeFloats.random(size, 2);
    NativeFloats weight = NativeFloats.random(p.channels(), 3);
    NativeFloats bias = NativeFloats.random(p.channels(), 4);
    double[] y = new double[size];
    double[] dx = new double[size];
    double[] dw = new double[p.channels()];
    double[] db = new double[p.channels()];
    double[] means = new double[stats];
    double[] rstds = new double[stats];
    for (int n = 0; n < p.batch(); n++) {
      for (int g = 0; g < p.groups(); g++) {
        int first = g * p.perGroup();
        double m = 0;
        double v = 0;
        for (int c = first; c < first + p.perGroup(); c++) {
          for (int i = 0; i < p.spatial(); i++) {
            m += x.get(index(p, last, n, c, i)) / p.count();
          }
        }
        for (int c = first; c < first + p.perGroup(); c++) {
          for (int i = 0; i < p.spatial(); i++) {
            v += Math.pow(x.get(index(p, last, n, c, i)) - m, 2) / p.count();
          }
        }
        double r = 1 / Math.sqrt(v + EPSILON);
        means[n * p.groups() + g] = m;
        rstds[n * p.groups() + g] = r;
        double sum = 0;
        double sumX = 0;
        for (int c = first; c < first + p.perGroup(); c++) {
          double w = affine ? weight.get(c) : 1;
          double b = affine ? bias.get(c) : 0;
          for (int i = 0; i < p.spatial(); i++) {
            int k = index(p, last, n, c, i);
            double hat = (x.get(k) - m) * r;
            double z = hat * w + b;
            double s = 1 / (1 + Math.exp(-z));
            y[k] = p.silu() ? z * s : z;
            double dz = p.silu() ? dy.get(k) * s * (1 + z * (1 - s)) : dy.get(k);
            dw[c] += dz * hat;
            db[c] += dz;
            sum += dz * w / p.count();
            sumX += dz * w * hat / p.count();
            dx[k] = dz * w;
          }
        }
        for (int c = first; c < first + p.perGroup(); c++) {
          for (int i = 0; i < p.spatial(); i++) {
            int k = index(p, last, n, c, i);
            dx[k] = r * (dx[k] - sum - (x.get(k) - m) * r * sumX);
          }
        }
      }
    }
    NativeFloats out = new NativeFloats(size);
    NativeFloats mean = new NativeFloats(stats);
    NativeFloats rstd = new NativeFloats(stats);
    NativeFloats gx = new NativeFloats(size);
    NativeFloats gw = new NativeFloats(p.channels());
    NativeFloats gb = new NativeFloats(p.channels());
    long w = affine ? weight.address : 0;
    long b = affine ? bias.address : 0;
    long m = mean.address;
    long r = rstd.address;
    // a single value per group has rstd 316: rounding of the mean is magnified as much
    double loss = p.count() == 1 ? 400 : Math.max(1, center / spread / 4);
    if (last) {
      GroupNormKernel.forwardChannelsLast(x.address, out.address, w, b, m, r, p, EPSILON);
      GroupNormKernel.backwardChannelsLast(
          x.address, dy.address, w, b, m, r, gx.address, gw.address, gb.address, p);
    } else {
      GroupNormKernel.forwardChannelsFirst(x.address, out.address, w, b, m, r, p, EPSILON);
      GroupNormKernel.backwardChannelsFirst(
          x.address, dy.address, w, b, m, r, gx.address, gw.address, gb.address, p);
    }
    String what = p + (last ? " channels-last" : " channels-first") + (affine ? " affine" : "");
    mean.check(means, 1e-6, 0.1, what + " mean");
    rstd.check(rstds, 1e-6, 0, what + " rstd");
    out.check(y, 2e-6, loss, what);
    gx.check(dx, 3e-6, loss, what + " dx");
    double many = Math.sqrt((double) p.batch() * p.spatial());
    gw.check(dw, 2e-6, loss * many, what + " dweight");
    gb.check(db, 2e-6, many, what + " dbias");
    if (last) {
      GroupNormKernel.backwardChannelsLast(x.address, dy.address, w, b, m, r, dy.address, 0, 0, p);
      GroupNormKernel.forwardChannelsLast(x.address, x.address, w, b, m, r, p, EPSILON);
    } else {
      GroupNormKernel.backwardChannelsFirst(x.address, dy.address, w, b, m, r, dy.address, 0, 0, p);
      GroupNormKernel.forwardChannelsFirst(x.address, x.address, w, b, m, r, p, EPSILON);
    }
    dy.check(dx, 3e-6, loss, what + " dx over dy");
    x.check(y, 2e-6, loss, what + " in place");
  }
}
