// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.OwnGemms.Tile;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The kernels of gemm*.cu against sums in double: all tiles, orders of operands, tails. */
class GemmKernelsTest {
  private static final Device GPU = new Device("cuda", 0);
  private static final double GUARD = 77;

  private final SplittableRandom random = new SplittableRandom(7);

  @AfterEach
  void exact() {
    Tf32.allow(false);
  }

  /** An operand on the device, and its values. */
  private record Operand(double[] host, Tensor device, Matrices m) {
    double get(int batch, int row, int column) {
      int skip = Math.toIntExact((m.address() - device.address()) / device.dtype().bytes());
      return host[Math.toIntExact(skip + batch * m.inner() + row * m.row() + column * m.column())];
    }

    double[] row(int batch, int row, int columns) {
      return IntStream.range(0, columns).mapToDouble(i -> get(batch, row, i)).toArray();
    }

    double[][] columns(int batch, int rows, int columns) {
      return IntStream.range(0, columns)
          .mapToObj(j -> IntStream.range(0, rows).mapToDouble(i -> get(batch, i, j)).toArray())
          .toArray(double[][]::new);
    }
  }

  /** Matrices [rows, columns] stored by rows or by columns; strides are multiples of 8 if fast. */
  private Operand operand(
      DType dtype, int batches, int rows, int columns, boolean byRows, boolean fast) {
    long inner = fast ? 1 : 2;
    long outer = inner * (byRows ? columns : rows);
    outer = fast ? (outer + 7) / 8 * 8 + 8 : outer + 1;
    long batch = outer * (byRows ? rows : columns) + (fast ? 8 : 3);
    int skip = fast ? 8 : 1;
    double[] values = new double[Math.toIntExact(skip + batch * batches)];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextGaussian();
    }
    Tensor t = Tensor.of(values, dtype, GPU, values.length);
    long address = t.address() + (long) skip * dtype.bytes();
    long row = byRows ? outer : inner;
    long column = byRows ? inner : outer;
    return new Operand(t.toDoubleArray(), t, new Matrices(address, row, column, 0, batch));
  }

  @ParameterizedTest
  @CsvSource({
    "BF16, LARGE, 130, 141",
    "BF16, SMALL, 70, 77",
    "BF16, TALL, 133, 21",
    "BF16, WIDE, 19, 139",
    "BF16, ANY, 70, 77",
    "F16, LARGE, 129, 136",
    "F16, SMALL, 61, 65",
    "F16, TALL, 129, 36",
    "F16, WIDE, 36, 129",
    "F16, ANY, 65, 62",
    "F32, LARGE, 130, 141",
    "F32, SMALL, 70, 77",
    "F32, ANY, 70, 77",
    "F64, ANY, 70, 77",
    "BF16, HOPPER_128, 130, 136",
    "F16, HOPPER_256, 70, 77",
    "F16, BULK_128X128, 300, 141",
    "BF16, BULK_128X256, 67, 264",
    "BF16, BULK_256X160, 300, 328"
  })
  void agrees(DType dtype, Tile tile, int m, int n) throws Throwable {
    assumeTrue(!tile.isHopper() || Gpu.of(0).capability() == 90, "wgmma needs Hopper");
    EmulatorControl.inAllOrders(() -> Scope.run(() -> allOrders(dtype, tile, m, n)));
  }

  @ParameterizedTest
  @CsvSource({"LARGE, 130, 141", "SMALL, 70, 77"})
  void tf32AgreesWithOperandsRounded(Tile tile, int m, int n) throws Throwable {
    Tf32.allow(true);
    EmulatorControl.inAllOrders(() -> Scope.run(() -> allOrders(DType.F32, tile, m, n)));
  }

  private void allOrders(DType dtype, Tile tile, int m, int n) {
    for (boolean aByRows : new boolean[] {true, false}) {
      for (boolean bByRows : new boolean[] {true, false}) {
        plain(dtype, tile, m, n, aByRows, bByRows);
        secondPairAndFactors(dtype, tile, m, n, aByRows, bByRows);
        partsAndBatches(dtype, tile, m, n, aByRows, bByRows);
      }
    }
  }

  private void plain(DType dtype, Tile tile, int m, int n, boolean aByRows, boolean bByRows) {
    boolean fast = tile != Tile.ANY;
    int k = tile.isHopper() ? 37 + 64 * 8 : 37; // more tiles than the ring of buffers has
    Operand a = operand(dtype, 1, m, k, aByRows, fast);
    Operand b = operand(dtype, 1, k, n, bByRows, fast);
    Operand c = operand(dtype, 1, m, n, true, fast);
    Product p = Product.of(dtype, m, n, k, a.m, b.m, unitColumns(c));
    OwnGemms.run(Gpu.of(0), p, tile, 1);
    check(p, a, b, null, null, null, c);
  }

  private void secondPairAndFactors(
      DType dtype, Tile tile, int m, int n, boolean aByRows, boolean bByRows) {
    boolean fast = tile != Tile.ANY;
    int k = 64;
    int k2 = 9;
    Operand a = operand(dtype, 1, m, k, aByRows, fast);
    Operand b = operand(dtype, 1, k, n, bByRows, fast);
    Operand a2 = operand(dtype, 1, m, k2, aByRows, fast);
    Operand b2 = operand(dtype, 1, k2, n, bByRows, fast);
    Operand c = operand(dtype, 1, m, n, true, fast);
    Operand bias = operand(dtype, 1, 1, n, true, true);
    Product p =
        Product.of(dtype, m, n, k, a.m, b.m, unitColumns(c))
            .scaled(1.5, 0.5)
            .plusBias(bias.m.address())
            .plus(k2, a2.m, b2.m);
    OwnGemms.run(Gpu.of(0), p, tile, 1);
    check(p, a, b, a2, b2, bias, c);
  }

  private void partsAndBatches(
      DType dtype, Tile tile, int m, int n, boolean aByRows, boolean bByRows) {
    boolean fast = tile != Tile.ANY;
    int k = 100;
    int batches = tile.hasMaps() ? 1 : 2;
    Operand a = operand(dtype, batches, m, k, aByRows, fast);
    Operand b = operand(dtype, batches, k, n, bByRows, fast);
    double[] before = new double[batches * m * n + 8];
    java.util.Arrays.fill(before, GUARD);
    Tensor t = Tensor.of(before, dtype, GPU, before.length);
    Operand c = new Operand(before, t, new Matrices(t.address(), n, 1, 0, (long) m * n));
    Product p = Product.of(dtype, m, n, k, a.m, b.m, c.m).batches(1, batches).scaled(0.25, 0);
    OwnGemms.run(Gpu.of(0), p, tile, 3);
    check(p, a, b, null, null, null, c);
    double[] after = t.toDoubleArray();
    for (int i = batches * m * n; i < after.length; i++) {
      assertEquals(GUARD, after[i], "what lies behind C");
    }
  }

  /** C's columns have a stride of 1. */
  private static Matrices unitColumns(Operand c) {
    return new Matrices(c.m.address(), c.m.row(), 1, 0, 0);
  }

  private static void check(
      Product p, Operand a, Operand b, Operand a2, Operand b2, Operand bias, Operand before) {
    Operand c = new Operand(before.device.toDoubleArray(), before.device, p.c());
    Operand old = new Operand(before.host, before.device, p.c());
    double rounding =
        switch (p.dtype()) {
          case BF16 -> 0x1p-8;
          case F16 -> 0x1p-11;
          case F32 -> 0x1p-24;
          default -> 0x1p-53;
        };
    double sums = p.dtype() == DType.F64 ? 0x1p-50 : Tf32.allowed() ? 0x1p-10 : 0x1p-21;
    for (int s = 0; s < p.inner(); s++) {
      double[][] columns = b.columns(s, p.k(), p.n());
      double[][] columns2 = p.more() == null ? null : b2.columns(0, p.more().k(), p.n());
      for (int i = 0; i < p.m(); i++) {
        double[] row = a.row(s, i, p.k());
        double[] row2 = p.more() == null ? null : a2.row(0, i, p.more().k());
        for (int j = 0; j < p.n(); j++) {
          double sum = 0;
          double size = 0;
          for (int q = 0; q < p.k(); q++) {
            double x = row[q] * columns[j][q];
            sum += x;
            size += Math.abs(x);
          }
          if (p.more() != null) {
            for (int q = 0; q < p.more().k(); q++) {
              double x = row2[q] * columns2[j][q];
              sum += x;
              size += Math.abs(x);
            }
          }
          double expected = p.alpha() * sum;
          expected += p.beta() == 0 ? 0 : p.beta() * old.get(s, i, j);
          expected += bias == null ? 0 : bias.get(0, 0, j);
          double got = c.get(s, i, j);
          double tolerance = rounding * Math.abs(expected) + sums * (size + 1);
          if (!(Math.abs(got - expected) <= tolerance)) {
            fail(p + ": " + got + " is not within " + tolerance + " of " + expected);
          }
        }
      }
    }
  }
}
