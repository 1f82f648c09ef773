// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.cpu.LayerNormKernel.Affine;
import io.sfumato.tensor.cpu.LayerNormKernel.Gradients;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Layer norm and RMS norm of both providers against double precision. */
class LayerNormKernelTest {
  private static final double EPSILON = 1e-5;

  @AfterEach
  void restore() {
    NativeFloats.releaseAll();
    Loops.use(Simd.provider());
  }

  @Test
  void followsDoublePrecisionWithEverySetOfOptions() {
    int[][] shapes = {
      {1, 1, 1}, {1, 5, 7}, {2, 3, 16}, {3, 70, 33}, {2, 65, 100}, {1, 200, 40}, {2, 1, 1023}
    };
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int[] s : shapes) {
        for (int options = 0; options < 16; options++) {
          check(s[0], s[1], s[2], options, 1);
        }
      }
    }
  }

  @Test
  void largeMeanDoesNotSpoilTheVariance() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      NativeFloats x = NativeFloats.random(1000, 3, 4096, 1);
      for (int i = 0; i < x.n; i++) {
        x.set(i, Math.round(x.get(i) * 64) / 64f);
      }
      NativeFloats mean = new NativeFloats(1);
      NativeFloats rstd = new NativeFloats(1);
      double m = 0;
      for (int i = 0; i < x.n; i++) {
        m += x.get(i) / 1000.0;
      }
      double v = 0;
      for (int i = 0; i < x.n; i++) {
        v += (x.get(i) - m) * (x.get(i) - m) / 1000.0;
      }
      LayerNormKernel.forward(
          x.address,
          x.copy().address,
          mean.address,
          rstd.address,
          Affine.of(1, 1000, 0, 0),
          EPSILON);
      mean.check(new double[] {m}, 1e-7, 0, "mean");
      rstd.check(new double[] {1 / Math.sqrt(v + EPSILON)}, 1e-6, 0, "rstd");
    }
  }

  /** Rows whose sample of values for the first guess at the mean is far from all others. */
  @Test
  void outliersInTheSampleDoNotSpoilTheMoments() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : new int[] {5, 33, 384, 5000}) {
        for (int rows : new int[] {1, 2, 3, 4, 7}) {
          NativeFloats x = NativeFloats.random(rows * n, n + rows, 3, 0.01);
          for (int i = 0; i < x.n; i += n) {
            for (int k = 0; k < 4; k++) {
              x.set(i + n / 4 * k, 1000f + k);
            }
          }
          NativeFloats y = new NativeFloats(x.n);
          NativeFloats mean = new NativeFloats(rows);
          NativeFloats rstd = new NativeFloats(rows);
          double[] means = new double[rows];
          double[] rstds = new double[rows];
          double[] expected = new double[x.n];
          for (int r = 0; r < rows; r++) {
            for (int j = 0; j < n; j++) {
              means[r] += x.get(r * n + j) / (double) n;
            }
            double v = 0;
            for (int j = 0; j < n; j++) {
              v += Math.pow(x.get(r * n + j) - means[r], 2) / n;
            }
            rstds[r] = 1 / Math.sqrt(v + EPSILON);
            for (int j = 0; j < n; j++) {
              expected[r * n + j] = (x.get(r * n + j) - means[r]) * rstds[r];
            }
          }
          LayerNormKernel.forward(
              x.address, y.address, mean.address, rstd.address, Affine.of(rows, n, 0, 0), EPSILON);
          mean.check(means, 2e-7, 0, "mean");
          rstd.check(rstds, 1e-6, 0, "rstd");
          y.check(expected, 2e-6, 1, "y");
        }
      }
    }
  }

  /** A row's result is the same bits whatever rows stand beside it. */
  @Test
  void rowsDoNotDependOnTheirNeighbours() {
    int rows = 11;
    for (int n : new int[] {1, 16, 33, 384, 4100}) {
      NativeFloats x = NativeFloats.random(rows * n, n, 1, 2);
      NativeFloats w = NativeFloats.random(n, 2);
      NativeFloats b = NativeFloats.random(n, 3);
      NativeFloats y = new NativeFloats(rows * n);
      NativeFloats one = new NativeFloats(n);
      NativeFloats mean = new NativeFloats(rows);
      NativeFloats rstd = new NativeFloats(rows);
      Affine all = Affine.of(rows, n, w.address, b.address);
      LayerNormKernel.forward(x.address, y.address, mean.address, rstd.address, all, EPSILON);
      for (int r = 0; r < rows; r++) {
        LayerNormKernel.forward(
            x.address + 4L * r * n,
            one.address,
            mean.address,
            rstd.address,
            Affine.of(1, n, w.address, b.address),
            EPSILON);
        for (int j = 0; j < n; j++) {
          assertEquals(one.get(j), y.get(r * n + j), "row " + r + " of " + n);
        }
      }
    }
  }

  private static double at(NativeFloats f, boolean present, int i, double otherwise) {
    return present ? f.get(i) : otherwise;
  }

  private static void check(int batches, int rows, int n, int options, double spread) {
    boolean hasWeight = (options & 1) != 0;
    boolean hasBias = (options & 2) != 0;
    boolean hasScale = (options & 4) != 0;
    boolean hasShift = (options & 8) != 0;
    int stride = n + 3;
    int total = batches * rows;
    NativeFloats x = NativeFloats.random(total * n, 1, 2, spread);
    NativeFloats dy = NativeFloats.random(total * n, 2);
    NativeFloats weight = NativeFloats.random(n, 3);
    NativeFloats bias = NativeFloats.random(n, 4);
    NativeFloats scale = NativeFloats.random(batches * stride, 5);
    NativeFloats shift = NativeFloats.random(batches * stride, 6);
    double[] y = new double[total * n];
    double[] dx = new double[total * n];
    double[] dw = new double[n];
    double[] db = new double[n];
    double[] dscale = new double[batches * stride];
    double[] dshift = new double[batches * stride];
    double[] means = new double[total];
    double[] rstds = new double[total];
    for (int r = 0; r < total; r++) {
      int b = r / rows;
      double m = 0;
      for (int j = 0; j < n; j++) {
        m += x.get(r * n + j) / (double) n;
      }
      double v = 0;
      for (int j = 0; j < n; j++) {
        v += Math.pow(x.get(r * n + j) - m, 2) / n;
      }
      double s = 1 / Math.sqrt(v + EPSILON);
      means[r] = m;
      rstds[r] = s;
      double g = 0;
      double gx = 0;
      double[] hat = new double[n];
      double[] d = new double[n];
      for (int j = 0; j < n; j++) {
        int i = r * n + j;
        hat[j] = (x.get(i) - m) * s;
        double factor = 1 + at(scale, hasScale, b * stride + j, 0);
        double h = hat[j] * at(weight, hasWeight, j, 1) + at(bias, hasBias, j, 0);
        y[i] = h * factor + at(shift, hasShift, b * stride + j, 0);
        dscale[b * stride + j] += dy.get(i) * h;
        dshift[b * stride + j] += dy.get(i);
        dw[j] += dy.get(i) * factor * hat[j];
        db[j] += dy.get(i) * factor;
        d[j] = dy.get(i) * factor * at(weight, hasWeight, j, 1);
        g += d[j] / n;
        gx += d[j] * hat[j] / n;
      }
      for (int j = 0; j < n; j++) {
        dx[r * n + j] = s * (d[j] - g - hat[j] * gx);
      }
    }
    NativeFloats mean = new NativeFloats(total);
    NativeFloats rstd = new NativeFloats(total);
    NativeFloats out = new NativeFloats(total * n);
    Affine affine =
        new Affine(
            batches,
            rows,
            n,
            hasWeight ? weight.address : 0,
            hasBias ? bias.address : 0,
            hasScale ? scale.address : 0,
            hasShift ? shift.address : 0,
            stride);
    String what = batches + "x" + rows + "x" + n + " options " + options;
    LayerNormKernel.forward(x.address, out.address, mean.address, rstd.address, affine, EPSILON);
    mean.check(means, 1e-6, 1, what + " mean");
    rstd.check(rstds, 2e-6, 0, what + " rstd");
    out.check(y, 3e-6, 2, what);
    NativeFloats gx = new NativeFloats(total * n);
    NativeFloats gw = new NativeFloats(n);
    NativeFloats gb = new NativeFloats(n);
    NativeFloats gscale = new NativeFloats(batches * stride);
    NativeFloats gshift = new NativeFloats(batches * stride);
    for (int b = 0; b < batches; b++) {
      for (int j = n; j < stride; j++) {
        gscale.set(b * stride + j, 0);
        gshift.set(b * stride + j, 0);
      }
    }
    LayerNormKernel.backward(
        x.address,
        dy.address,
        mean.address,
        rstd.address,
        affine,
        new Gradients(gx.address, gw.address, gb.address, gscale.address, gshift.address, stride));
    double size = n == 1 ? 400 : 2;
    gx.check(dx, 5e-6, size, what + " dx");
    gw.check(dw, 5e-6, 5, what + " dweight");
    gb.check(db, 5e-6, 5, what + " dbias");
    gscale.check(dscale, 5e-6, 5, what + " dscale");
    gshift.check(dshift, 5e-6, 5, what + " dshift");
    LayerNormKernel.backward(
        x.address,
        dy.address,
        mean.address,
        rstd.address,
        affine,
        new Gradients(dy.address, 0, 0, 0, 0, 0));
    dy.check(dx, 5e-6, size, what + " dx over dy");
  }

  @Test
  void rmsNormFollowsDoublePrecision() {
    for (SimdProvider provider : NativeFloats.providers()) {
      Loops.use(provider);
      for (int n : new int[] {1, 7, 16, 33, 100, 1023}) {
        for (boolean hasWeight : new boolean[] {false, true}) {
          checkRms(70, n, hasWeight);
        }
      }
    }
  }

  private static void checkRms(int rows, int n, boolean hasWeight) {
    NativeFloats x = NativeFloats.random(rows * n, 1, 0.5, 1);
    NativeFloats dy = NativeFloats.random(rows * n, 2);
    NativeFloats weight = NativeFloats.random(n, 3);
    double[] y = new double[rows * n];
    double[] dx = new double[rows * n];
    double[] dw = new double[n];
    for (int r = 0; r < rows; r++) {
      double q = 0;
      for (int j = 0; j < n; j++) {
        q += Math.pow(x.get(r * n + j), 2) / n;
      }
      double s = 1 / Math.sqrt(q + EPSILON);
      double gx = 0;
      for (int j = 0; j < n; j++) {
        int i = r * n + j;
        double w = at(weight, hasWeight, j, 1);
        y[i] = x.get(i) * s * w;
        dw[j] += dy.get(i) * x.get(i) * s;
        gx += dy.get(i) * w * x.get(i) * s / n;
      }
      for (int j = 0; j < n; j++) {
        int i = r * n + j;
        dx[i] = s * (dy.get(i) * at(weight, hasWeight, j, 1) - x.get(i) * s * gx);
      }
    }
    NativeFloats out = new NativeFloats(rows * n);
    NativeFloats rstd = new NativeFloats(rows);
    NativeFloats gx = new NativeFloats(rows * n);
    NativeFloats gw = new NativeFloats(n);
    long w = hasWeight ? weight.address : 0;
    LayerNormKernel.rmsForward(x.address, out.address, w, rstd.address, rows, n, EPSILON);
    out.check(y, 1e-6, 0.1, "rms " + n);
    LayerNormKernel.rmsBackward(
        x.address, dy.address, w, rstd.address, gx.address, gw.address, rows, n);
    gx.check(dx, 5e-6, n == 1 ? 100 : 2, "rms dx " + n);
    gw.check(dw, 5e-6, 5, "rms dweight " + n);
    LayerNormKernel.rmsBackward(x.address, dy.address, w, rstd.address, dy.address, 0, rows, n);
    dy.check(dx, 5e-6, n == 1 ? 100 : 2, "rms dx over dy " + n);
  }
}
