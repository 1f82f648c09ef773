// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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

/** The kernels of gemm_rows.cu against sums in double. */
class FewRowsTest {
  private static final Device GPU = new Device("cuda", 0);

  private final SplittableRandom random = new SplittableRandom(13);
  private final FewRows gemms = new FewRows();

  private Tensor normal(int n) {
    double[] values = new double[n];
    Arrays.setAll(values, i -> random.nextGaussian());
    return Tensor.of(values, DType.F32, GPU, n);
  }

  @ParameterizedTest
  @CsvSource({"8, 128, 256", "1, 2, 4", "3, 37, 20", "32, 300, 132", "17, 2100, 8", "9, 4300, 12"})
  void agrees(int m, int n, int k) throws Throwable {
    EmulatorControl.inAllOrders(
        () ->
            Scope.run(
                () -> {
                  agrees(m, n, k, true, 1, 0, true);
                  agrees(m, n, k, true, 0.5, 2, false);
                  agrees(m, (n + 3) / 4 * 4, k, false, 1, 0, true);
                  agrees(m, (n + 3) / 4 * 4, k, false, -2, 1, false);
                }));
  }

  private void agrees(int m, int n, int k, boolean byK, double alpha, double beta, boolean bias) {
    int pitch = n + 5;
    Tensor a = normal(m * (k + 4));
    Tensor b = normal(n * k);
    Tensor c = normal((m + 1) * pitch);
    Tensor row = normal(n);
    double[] x = a.toDoubleArray();
    double[] y = b.toDoubleArray();
    double[] before = c.toDoubleArray();
    double[] add = row.toDoubleArray();
    Matrices right = byK ? Matrices.of(b.address(), 1, k) : Matrices.rowMajor(b.address(), n);
    Product p =
        Product.of(
                DType.F32,
                m,
                n,
                k,
                Matrices.rowMajor(a.address(), k + 4),
                right,
                Matrices.rowMajor(c.address(), pitch))
            .scaled(alpha, beta);
    assertTrue(gemms.run(Gpu.of(c), bias ? p.plusBias(row.address()) : p));
    double[] got = c.toDoubleArray();
    for (int i = 0; i < (m + 1) * pitch; i++) {
      int line = i / pitch;
      int column = i % pitch;
      double want = before[i];
      double size = 0;
      if (line < m && column < n) {
        want = beta * before[i] + (bias ? add[column] : 0);
        size = Math.abs(want) + Math.abs(beta * before[i]);
        for (int q = 0; q < k; q++) {
          double product = alpha * x[line * (k + 4) + q] * y[byK ? column * k + q : q * n + column];
          want += product;
          size += Math.abs(product);
        }
      }
      assertEquals(want, got[i], 0x1p-21 * size, "row " + line + ", column " + column);
    }
  }

  @ParameterizedTest
  @CsvSource({"33, 64, 64", "8, 1, 64", "8, 64, 63"})
  void leavesToOthers(int m, int n, int k) throws Throwable {
    Scope.run(
        () -> {
          Matrices a = Matrices.rowMajor(1 << 20, k);
          Matrices b = Matrices.rowMajor(1 << 20, n);
          Product p = Product.of(DType.F32, m, n, k, a, b, Matrices.rowMajor(1 << 20, n));
          assertFalse(gemms.takes(p));
        });
  }
}
