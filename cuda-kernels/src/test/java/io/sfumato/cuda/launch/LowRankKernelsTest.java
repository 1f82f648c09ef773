// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The kernels of low_rank.cu against sums in double: all ranks, orders of the factors, tails. */
class LowRankKernelsTest {
  private static final Device GPU = new Device("cuda", 0);

  private final SplittableRandom random = new SplittableRandom(11);

  /** A matrix on the device, by rows or by columns, and its values. */
  private record Operand(double[] host, Tensor device, Matrices m) {
    double get(int row, int column) {
      return host[Math.toIntExact(row * m.row() + column * m.column())];
    }
  }

  private Operand operand(DType dtype, int rows, int columns, int pitch, boolean byRows) {
    double[] values = new double[(byRows ? rows : columns) * pitch];
    Arrays.setAll(values, i -> random.nextGaussian());
    Tensor t = Tensor.of(values, dtype, GPU, values.length);
    Matrices m =
        byRows ? Matrices.rowMajor(t.address(), pitch) : Matrices.of(t.address(), 1, pitch);
    return new Operand(t.toDoubleArray(), t, m);
  }

  @ParameterizedTest
  @CsvSource({
    "BF16, 37, 72, 40, 1",
    "BF16, 65, 584, 320, 8",
    "F16, 33, 200, 296, 9",
    "BF16, 32, 8, 8, 16",
    "F16, 70, 72, 328, 20",
    "BF16, 31, 136, 72, 64",
    "BF16, 1, 24, 16, 3"
  })
  void update(DType dtype, int m, int n, int k, int r) throws Throwable {
    EmulatorControl.inAllOrders(
        () ->
            Scope.run(
                () -> {
                  update(dtype, m, n, k, r, true);
                  update(dtype, m, n, k, r, false);
                }));
  }

  private void update(DType dtype, int m, int n, int k, int r, boolean byRows) {
    Operand x = operand(dtype, m, k, k + 8, true);
    Operand a = operand(dtype, r, k, byRows ? k : r, byRows);
    Operand b = operand(dtype, n, r, byRows ? r : n, byRows);
    Operand bias = operand(dtype, 1, n, n, true);
    Operand y = operand(dtype, m + 1, n, n + 16, true);
    LowRankKernels kernels = new LowRankKernels(dtype, m, n, k, r, 0.5, x.m, y.m, a.m, b.m);
    assertTrue(kernels.fits());
    kernels.update(Gpu.of(y.device), byRows ? bias.m.address() : 0);
    double[] got = y.device.toDoubleArray();
    double[][] t = new double[m][r];
    for (int i = 0; i < m; i++) {
      for (int q = 0; q < r; q++) {
        for (int p = 0; p < k; p++) {
          t[i][q] += 0.5 * x.get(i, p) * a.get(q, p);
        }
      }
    }
    double unit = unit(dtype);
    for (int i = 0; i <= m; i++) {
      for (int j = 0; j < n + 16; j++) {
        double want = y.get(i, j);
        double size = 0;
        if (i < m && j < n) {
          want = byRows ? bias.get(0, j) : 0;
          size = Math.abs(want);
          for (int q = 0; q < r; q++) {
            want += t[i][q] * b.get(j, q);
            size += Math.abs(t[i][q] * b.get(j, q));
          }
        }
        assertEquals(
            want, got[i * (n + 16) + j], unit * Math.abs(want) + 2e-5 * size, i + ", " + j);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "BF16, 37, 72, 40, 1",
    "BF16, 450, 64, 136, 8",
    "F16, 300, 200, 16, 9",
    "BF16, 64, 8, 8, 16",
    "F16, 129, 72, 64, 20",
    "BF16, 260, 136, 72, 64",
    "BF16, 1, 24, 16, 3"
  })
  void gradients(DType dtype, int m, int n, int k, int r) throws Throwable {
    EmulatorControl.inAllOrders(
        () ->
            Scope.run(
                () -> {
                  gradients(dtype, m, n, k, r, true);
                  gradients(dtype, m, n, k, r, false);
                }));
  }

  private void gradients(DType dtype, int m, int n, int k, int r, boolean byRows) {
    Operand x = operand(dtype, m, k, k + 8, true);
    Operand dy = operand(dtype, m, n, n, true);
    Operand a = operand(dtype, r, k, byRows ? k : r, byRows);
    Operand b = operand(dtype, n, r, byRows ? r : n, byRows);
    Tensor da = operand(dtype, r, k, k, true).device;
    Tensor db = operand(dtype, n, r, r, true).device;
    LowRankKernels kernels = new LowRankKernels(dtype, m, n, k, r, 0.25, x.m, dy.m, a.m, b.m);
    assertTrue(kernels.fits());
    kernels.gradients(Gpu.of(da), da.address(), db.address());
    double[] wantA = new double[r * k];
    double[] sizeA = new double[r * k];
    double[] wantB = new double[n * r];
    double[] sizeB = new double[n * r];
    for (int i = 0; i < m; i++) {
      for (int q = 0; q < r; q++) {
        double g = 0;
        double h = 0;
        for (int j = 0; j < n; j++) {
          g += 0.25 * dy.get(i, j) * b.get(j, q);
        }
        for (int p = 0; p < k; p++) {
          h += 0.25 * x.get(i, p) * a.get(q, p);
        }
        for (int p = 0; p < k; p++) {
          wantA[q * k + p] += g * x.get(i, p);
          sizeA[q * k + p] += Math.abs(g * x.get(i, p));
        }
        for (int j = 0; j < n; j++) {
          wantB[j * r + q] += h * dy.get(i, j);
          sizeB[j * r + q] += Math.abs(h * dy.get(i, j));
        }
      }
    }
    agrees(wantA, sizeA, da, unit(dtype));
    agrees(wantB, sizeB, db, unit(dtype));
  }

  private static void agrees(double[] want, double[] size, Tensor got, double unit) {
    double[] values = got.toDoubleArray();
    for (int i = 0; i < want.length; i++) {
      assertEquals(want[i], values[i], unit * Math.abs(want[i]) + 2e-5 * size[i], "at " + i);
    }
  }

  /** Half the distance of neighbours, relative. */
  private static double unit(DType dtype) {
    return dtype == DType.BF16 ? 0x1p-8 : 0x1p-11;
  }
}
