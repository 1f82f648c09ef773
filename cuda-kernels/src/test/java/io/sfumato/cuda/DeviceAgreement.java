// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.cases.Agreement;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;
import java.util.stream.IntStream;

/**
 * Runs an op by its kernel on the device, in every order of threads: values must agree with the
 * reference, and bits with those of the other orders.
 */
final class DeviceAgreement {
  private static final Device GPU = new Device("cuda", 0);

  private DeviceAgreement() {}

  /** Normal numbers. */
  static Tensor normal(DType dtype, int seed, int... shape) {
    java.util.Random random = new java.util.Random(seed);
    return filled(dtype, random::nextGaussian, shape);
  }

  /** Whole numbers from 0 to {@code bound} - 1. */
  static Tensor integers(DType dtype, int seed, int bound, int... shape) {
    SplittableRandom random = new SplittableRandom(seed);
    return filled(dtype, () -> random.nextInt(bound), shape);
  }

  private static Tensor filled(DType dtype, DoubleSupplier values, int... shape) {
    double[] v = new double[Math.toIntExact(Shape.of(shape).numel())];
    Arrays.setAll(v, i -> values.getAsDouble());
    return Tensor.of(v, dtype, Device.CPU, shape);
  }

  /**
   * Compares with the reference.
   *
   * @param tolerance of f32, f64 and integer results, times the largest magnitude of the result;
   *     16-bit results may round once more
   */
  static void check(double tolerance, Op op, Tensor... host) throws Throwable {
    Dense[] expected = Agreement.reference(op, host);
    double[][][] first = {null};
    EmulatorControl.inAllOrders(
        () ->
            Scope.run(
                () -> {
                  Tensor[] got = run(op, host);
                  double[][] values =
                      Arrays.stream(got).map(Tensor::toDoubleArray).toArray(double[][]::new);
                  for (int i = 0; i < got.length; i++) {
                    compare(
                        op + ", output " + i, expected[i], got[i].dtype(), values[i], tolerance);
                    if (first[0] != null) {
                      assertArrayEquals(first[0][i], values[i], op + ": depends on the schedule");
                    }
                  }
                  first[0] = values;
                }));
  }

  /** Runs the op on copies; for an in-place op the written inputs. */
  static Tensor[] run(Op op, Tensor... host) {
    Tensor[] in = Arrays.stream(host).map(CudaOpCasesTest::onDevice).toArray(Tensor[]::new);
    Tensor[] out = Eager.INSTANCE.execute(op, in);
    CudaBackend backend = (CudaBackend) Backends.of(GPU);
    assertNotNull(backend.kernels().find(op, in, out), () -> op + " has no kernel for this case");
    return op instanceof InPlaceOp o
        ? IntStream.of(o.mutated()).mapToObj(i -> in[i]).toArray(Tensor[]::new)
        : out;
  }

  private static void compare(
      String what, Dense expected, DType dtype, double[] got, double tolerance) {
    double[] e = expected.data();
    double scale = 0;
    for (double v : e) {
      scale = Double.isFinite(v) ? Math.max(scale, Math.abs(v)) : scale;
    }
    double rounding =
        switch (dtype) {
          case BF16 -> 0x1p-8;
          case F16 -> 0x1p-11;
          default -> 0;
        };
    for (int i = 0; i < e.length; i++) {
      double spacing = dtype == DType.F16 ? 0x1p-25 : 0; // half of the step between denormals
      double allowed = tolerance * scale + Math.max(spacing, rounding * Math.abs(e[i]));
      boolean same = Double.compare(e[i], got[i]) == 0 || Math.abs(e[i] - got[i]) <= allowed;
      int at = i;
      assertTrue(same, () -> what + ", element " + at + ": expected " + e[at] + ", got " + got[at]);
    }
  }
}
