// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.QuantizedProducts.Call;
import io.sfumato.cuda.launch.QuantizedProducts.Tile;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.CodedTensor;
import io.sfumato.tensor.ops.Dequantize;
import io.sfumato.tensor.ops.Quantize;
import io.sfumato.tensor.ops.QuantizedLinear;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The kernels of quantized_mma.cu against sums in double of the weight's values as the CPU decodes
 * and rounds them: all tiles and codings, forward and adjoint, tails, parts of sums.
 */
class QuantizedProductsTest {
  private static final Device GPU = new Device("cuda", 0);
  private static final double GUARD = 77;

  private final SplittableRandom random = new SplittableRandom(3);

  @BeforeEach
  void allRows() {
    System.setProperty(QuantizedProducts.PROPERTY, "512");
  }

  @AfterEach
  void theBestRows() {
    System.clearProperty(QuantizedProducts.PROPERTY);
  }

  private double[] normal(int n) {
    double[] v = new double[n];
    Arrays.setAll(v, i -> random.nextGaussian());
    return v;
  }

  private List<CodedTensor> coded(int rows, int length) {
    Tensor w = Tensor.of(normal(rows * length), DType.F32, Device.CPU, rows, length);
    return List.of(
        Quantize.fourBit(w, CodeTables.nf4(), 64),
        Quantize.fourBit(w, CodeTables.fp4(), 32, 256),
        Quantize.rowsInt8(w));
  }

  private static Tensor[] operands(Tensor x, CodedTensor w) {
    List<Tensor> in = new ArrayList<>(List.of(x));
    for (Tensor part : w.parts()) {
      in.add(part.to(GPU));
    }
    return in.toArray(Tensor[]::new);
  }

  @ParameterizedTest
  @CsvSource({
    "BF16, LARGE, 130, 136, 200", "BF16, LARGE, 5, 8, 8", "BF16, SMALL, 70, 72, 136",
    "BF16, THIN, 17, 136, 328", "BF16, THIN, 1, 8, 64", "F16, LARGE, 127, 264, 72",
    "F16, SMALL, 61, 200, 88", "F16, THIN, 5, 264, 72"
  })
  void agrees(DType dtype, Tile tile, int m, int n, int k) throws Throwable {
    EmulatorControl.inAllOrders(
        () ->
            Scope.run(
                () -> {
                  int odd = n - 3; // rows of the weight may be any number
                  for (CodedTensor w : coded(odd, k)) {
                    agrees(dtype, tile, new QuantizedLinear(w.coding(), false, true), w, m, odd, k);
                  }
                  for (CodedTensor w : coded(k, n)) {
                    agrees(dtype, tile, new QuantizedLinear(w.coding(), true, false), w, m, n, k);
                  }
                }));
  }

  private void agrees(
      DType dtype, Tile tile, QuantizedLinear op, CodedTensor w, int m, int n, int k) {
    Dequantize decode = new Dequantize(op.coding(), dtype);
    double[] values =
        Eager.INSTANCE.execute(decode, w.parts().toArray(Tensor[]::new))[0].toDoubleArray();
    int pitch = k + 8;
    Tensor x = Tensor.of(normal(m * pitch), dtype, GPU, m * pitch);
    Tensor bias = Tensor.of(normal(n), dtype, GPU, n);
    Tensor[] in = operands(x, w);
    for (int parts : new int[] {1, 3}) {
      double[] guarded = new double[m * n + 8];
      Arrays.fill(guarded, GUARD);
      Tensor y = Tensor.of(guarded, dtype, GPU, guarded.length);
      Gpu gpu = Gpu.of(0);
      Matrices a = Matrices.rowMajor(x.address(), pitch);
      Call call = new Call(op, dtype, m, n, k, in[1].address(), a);
      assertTrue(call.isPossible());
      try (Staging staging = new Staging(gpu)) {
        long more = op.bias() ? bias.address() : 0;
        QuantizedProducts.run(gpu, staging, call, in, y.address(), more, tile, parts);
      }
      double[] got = y.toDoubleArray();
      double[] left = x.toDoubleArray();
      double[] plus = bias.toDoubleArray();
      double rounding = dtype == DType.BF16 ? 0x1p-8 : 0x1p-11;
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          double sum = op.bias() ? plus[j] : 0;
          double size = Math.abs(sum);
          for (int q = 0; q < k; q++) {
            double v = left[i * pitch + q] * values[op.adjoint() ? q * n + j : j * k + q];
            sum += v;
            size += Math.abs(v);
          }
          assertEquals(sum, got[i * n + j], rounding * Math.abs(sum) + 0x1p-21 * (size + 1));
        }
      }
      for (int i = m * n; i < got.length; i++) {
        assertEquals(GUARD, got[i], "what lies behind C");
      }
    }
  }

  /** An op takes these kernels: its result has their bits. */
  @Test
  void anOpWithSomeRowsReadsCodes() {
    Scope.run(
        () -> {
          for (CodedTensor w : coded(24, 72)) {
            QuantizedLinear op = new QuantizedLinear(w.coding(), false, false);
            Tensor x = Tensor.of(normal(20 * 72), DType.BF16, GPU, 2, 10, 72);
            Tensor[] in = operands(x, w);
            long before = EmulatorControl.get("launches");
            Tensor y = Eager.INSTANCE.execute(op, in)[0];
            if (EmulatorControl.isEmulated()) {
              assertEquals(1, EmulatorControl.get("launches") - before, "nothing is decoded first");
            }
            assertEquals(Shape.of(2, 10, 24), y.shape());
            Tensor alone = Tensor.zeros(y.spec());
            Matrices a = Matrices.rowMajor(x.address(), 72);
            Call call = new Call(op, DType.BF16, 20, 24, 72, in[1].address(), a);
            try (Staging staging = new Staging(Gpu.of(0))) {
              QuantizedProducts.run(
                  Gpu.of(0), staging, call, in, alone.address(), 0, Tile.LARGE, 1);
            }
            assertArrayEquals(alone.toDoubleArray(), y.toDoubleArray());
          }
        });
  }

  @Test
  void codesAreReadForAsManyRowsAsWasMeasuredToPay() {
    System.clearProperty(QuantizedProducts.PROPERTY);
    Scope.run(
        () -> {
          Matrices a = Matrices.rowMajor(1024, 72);
          for (CodedTensor w : coded(24, 72)) {
            int most = w.parts().size() == 2 ? 160 : 4;
            QuantizedLinear op = new QuantizedLinear(w.coding(), false, false);
            assertTrue(new Call(op, DType.F16, most, 24, 72, 4096, a).isGood());
            assertFalse(new Call(op, DType.F16, most + 1, 24, 72, 4096, a).isGood());
          }
        });
  }

  @Test
  void whatTheKernelsCannotReadIsNotPossible() {
    Scope.run(
        () -> {
          QuantizedLinear op = new QuantizedLinear(coded(24, 72).getFirst().coding(), false, false);
          Matrices a = Matrices.rowMajor(1024, 72);
          Call good = new Call(op, DType.F16, 20, 24, 72, 4096, a);
          assertTrue(good.isGood());
          assertFalse(new Call(op, DType.F32, 20, 24, 72, 4096, a).isPossible());
          assertFalse(new Call(op, DType.F16, 20, 24, 72, 4098, a).isPossible(), "codes");
          assertFalse(new Call(op, DType.F16, 20, 24, 72, 4096, a.at(1026)).isPossible());
          Matrices odd = Matrices.rowMajor(1024, 75);
          assertFalse(new Call(op, DType.F16, 20, 24, 72, 4096, odd).isPossible(), "rows");
          assertFalse(new Call(op, DType.F16, 20, 24, 72, 4096, a.transposed()).isPossible());
          QuantizedLinear ragged =
              new QuantizedLinear(coded(24, 76).getFirst().coding(), false, false);
          assertFalse(new Call(ragged, DType.F16, 20, 24, 76, 4096, a).isPossible());
          Call many = new Call(op, DType.F16, 513, 24, 72, 4096, a);
          assertTrue(many.isPossible() && !many.isGood(), "decoded once");
        });
  }
}
