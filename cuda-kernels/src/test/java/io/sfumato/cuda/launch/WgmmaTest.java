// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.cuda.testing.Logged;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.LowRank;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Low-rank layers by wgmma against sums in double, and what goes by it. */
class WgmmaTest {
  private static final Device GPU = new Device("cuda", 0);
  private static final double SCALE = 0.75;

  private final SplittableRandom random = new SplittableRandom(5);

  @BeforeEach
  void allow() {
    assumeTrue(Gpu.of(0).capability() == 90, "wgmma needs compute capability 9.0");
    Wgmma.allow(true);
  }

  @AfterEach
  void forbid() {
    Wgmma.allow(false);
  }

  private Tensor normal(DType dtype, int rows, int columns) {
    double[] values = new double[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextGaussian();
    }
    return Tensor.of(values, dtype, GPU, rows, columns);
  }

  /** Rounded values of the thin product are as in PyTorch: of the type of the layer. */
  @ParameterizedTest
  @CsvSource({
    "BF16, 250, 248, 248, 12",
    "F16, 246, 240, 248, 20",
    "BF16, 129, 72, 136, 1",
    "BF16, 256, 248, 256, 16"
  })
  void lowRankLayersAndTheirGradientAgree(DType dtype, int m, int n, int k, int r)
      throws Throwable {
    EmulatorControl.inAllOrders(
        () ->
            Scope.run(
                () -> {
                  Tensor w = normal(dtype, n, k);
                  Tensor a = normal(dtype, r, k);
                  Tensor b = normal(dtype, n, r);
                  Tensor bias = normal(dtype, 1, n).reshape(n);
                  Tensor x = normal(dtype, m, k);
                  check(x, w, a, b, bias);
                  Tensor dy = normal(dtype, m, n);
                  check(dy, w.transpose(0, 1), b.transpose(0, 1), a.transpose(0, 1), null);
                }));
  }

  /** More tiles than multiprocessors (4 in the emulator), more steps than buffers. */
  @ParameterizedTest
  @CsvSource({
    "BF16, 1030, 312, 328, 12",
    "F16, 300, 328, 264, 16",
    "BF16, 257, 168, 72, 1",
    "F16, 70, 64, 520, 8"
  })
  void lowRankLayersInOnePassAgree(DType dtype, int m, int n, int k, int r) throws Throwable {
    EmulatorControl.inAllOrders(
        () ->
            Scope.run(
                () -> {
                  Tensor w = normal(dtype, n, k);
                  Tensor a = normal(dtype, r, k);
                  Tensor b = normal(dtype, n, r);
                  Tensor bias = normal(dtype, 1, n).reshape(n);
                  Tensor x = normal(dtype, m, k);
                  Tensor y = onePass(x, w, a, b, bias);
                  check(x, w, a, b, bias, y);
                  Tensor dy = normal(dtype, m, n);
                  Tensor wt = w.transpose(0, 1);
                  Tensor at = a.transpose(0, 1);
                  Tensor bt = b.transpose(0, 1);
                  check(dy, wt, bt, at, null, onePass(dy, wt, bt, at, null));
                }));
  }

  private static Tensor onePass(Tensor x, Tensor w, Tensor a, Tensor b, Tensor bias) {
    Gpu gpu = Gpu.of(0);
    int m = x.dim(0);
    int n = w.dim(0);
    int k = w.dim(1);
    Tensor y = Tensor.full(new TensorSpec(Shape.of(m, n), x.dtype(), GPU), 7);
    Matrices right = Matrices.of(w.address(), w.layout().stride(1), w.layout().stride(0));
    Product p =
        Product.of(
            x.dtype(),
            m,
            n,
            k,
            Matrices.rowMajor(x.address(), k),
            right,
            Matrices.rowMajor(y.address(), n));
    try (Staging staging = new Staging(gpu)) {
      new LowRankHopper(bias == null ? p : p.plusBias(bias.address()), a, b, SCALE)
          .run(gpu, staging);
    }
    return y;
  }

  private static void check(Tensor x, Tensor w, Tensor a, Tensor b, Tensor bias) {
    Tensor y =
        bias == null
            ? Eager.INSTANCE.execute(new LowRank(SCALE, false), x, w, a, b)[0]
            : Eager.INSTANCE.execute(new LowRank(SCALE, true), x, w, a, b, bias)[0];
    check(x, w, a, b, bias, y);
  }

  private static void check(Tensor x, Tensor w, Tensor a, Tensor b, Tensor bias, Tensor y) {
    int m = x.dim(0);
    int n = w.dim(0);
    int k = w.dim(1);
    int r = a.dim(0);
    double[] got = y.toDoubleArray();
    double[] xs = x.toDoubleArray();
    double[] ws = w.toDoubleArray();
    double[] as = a.toDoubleArray();
    double[] bs = b.toDoubleArray();
    double[] add = bias == null ? new double[n] : bias.toDoubleArray();
    double unit = x.dtype() == DType.BF16 ? 0x1p-8 : 0x1p-11;
    for (int i = 0; i < m; i++) {
      double[] t = new double[r];
      for (int q = 0; q < r; q++) {
        for (int p = 0; p < k; p++) {
          t[q] += SCALE * xs[i * k + p] * as[q * k + p];
        }
      }
      for (int j = 0; j < n; j++) {
        double want = add[j];
        double size = Math.abs(want);
        double thin = 0;
        for (int p = 0; p < k; p++) {
          want += xs[i * k + p] * ws[j * k + p];
          size += Math.abs(xs[i * k + p] * ws[j * k + p]);
        }
        for (int q = 0; q < r; q++) {
          want += t[q] * bs[j * r + q];
          thin += Math.abs(t[q] * bs[j * r + q]);
        }
        double tolerance = unit * (Math.abs(want) + thin) + 0x1p-19 * (size + thin);
        assertEquals(want, got[i * n + j], tolerance, "row " + i + ", column " + j);
      }
    }
  }

  @Test
  void productsThatFillATileGoByItUnlessItIsOff() {
    Gpu gpu = Gpu.of(0);
    Product large = product(DType.BF16, 4096, 1280, 1280);
    assertTrue(OwnGemms.isHopper(gpu, large));
    assertTrue(OwnGemms.keepsUp(gpu, large));
    assertFalse(Products.adds(gpu, large));
    assertFalse(OwnGemms.keepsUp(gpu, product(DType.BF16, 150, 136, 1280)), "most would be idle");
    assertFalse(OwnGemms.isHopper(gpu, product(DType.BF16, 4096, 64, 1280)));
    assertFalse(OwnGemms.isHopper(gpu, product(DType.F32, 4096, 1280, 1280)));
    assertFalse(OwnGemms.isHopper(gpu, product(DType.BF16, 4096, 1280, 1283)));
    Wgmma.allow(false);
    assertFalse(OwnGemms.isHopper(gpu, large));
  }

  @Test
  void anOldDriverDoesWithoutItAndOneLineSaysWhy() {
    assumeTrue(EmulatorControl.isEmulated(), "the version is that of the emulated driver");
    Gpu gpu = Gpu.of(0);
    long before = EmulatorControl.get("version");
    Product large = product(DType.BF16, 4096, 1280, 1280);
    try {
      EmulatorControl.set("version", Wgmma.LEAST_DRIVER - 10);
      List<String> log =
          Logged.by(
              Wgmma.class,
              () -> {
                assertFalse(OwnGemms.isHopper(gpu, large));
                assertFalse(Wgmma.isOn(gpu));
              });
      assertEquals(
          List.of(
              "INFO cuda:0: wgmma is not used: it needs compute capability 9.0 and a driver for"
                  + " CUDA 12.1; here are 9.0 and 12.0"),
          log);
      EmulatorControl.set("version", Wgmma.LEAST_DRIVER);
      assertTrue(OwnGemms.isHopper(gpu, large));
    } finally {
      EmulatorControl.set("version", before);
    }
  }

  private static Product product(DType dtype, int m, int n, int k) {
    Matrices a = Matrices.rowMajor(1 << 20, k);
    Matrices b = Matrices.of(1 << 20, 1, k);
    return Product.of(dtype, m, n, k, a, b, Matrices.rowMajor(1 << 20, n));
  }

  @Test
  void theSwitchIsOnOrOff() {
    assertTrue(Wgmma.read("on"));
    assertFalse(Wgmma.read("off"));
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Wgmma.read("true"));
    assertEquals("sfumato.cuda.wgmma is on or off, not \"true\"", e.getMessage());
  }
}
