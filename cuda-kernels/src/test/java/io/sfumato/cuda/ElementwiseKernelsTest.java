// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.AddInPlace;
import io.sfumato.tensor.ops.Affine;
import io.sfumato.tensor.ops.Binary;
import io.sfumato.tensor.ops.Clamp;
import io.sfumato.tensor.ops.Compare;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.PowScalar;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Unary;
import io.sfumato.tensor.ops.UnaryBackward;
import io.sfumato.tensor.ops.Where;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Elementwise kernels against the CPU's, over sizes with tails, many blocks and joined axes. */
class ElementwiseKernelsTest {
  private static final DType[] FLOATING = {DType.F32, DType.BF16, DType.F16, DType.F64};

  private static Tensor values(long seed, DType dtype, int... shape) {
    return Rng.seed(seed).normal(shape).to(dtype);
  }

  /** Equal to the CPU up to the rounding of the type, with the emulator's threads in all orders. */
  private static void agree(Op op, Tensor... in) {
    Tensor expected = Eager.INSTANCE.execute(op, in)[0];
    double unit =
        switch (expected.dtype()) {
          case BF16 -> 0x1p-8;
          case F16 -> 0x1p-11;
          case F32 -> 2e-6; // e^x and 1/x of the device are good to 2^-22
          case F64 -> 1e-14;
          default -> 0;
        };
    allOrders(
        () -> {
          Tensor got = Eager.INSTANCE.execute(op, onDevice(in))[0];
          assertEquals(expected.layout(), got.layout(), op + ": memory order");
          double[] e = expected.toDoubleArray();
          double[] g = got.toDoubleArray();
          for (int i = 0; i < e.length; i++) {
            double most = unit * Math.max(1, Math.abs(e[i]));
            assertTrue(
                Double.compare(e[i], g[i]) == 0 || Math.abs(e[i] - g[i]) <= most,
                op + " of " + in[0].layout() + ", element " + i + ": " + e[i] + ", got " + g[i]);
          }
        });
  }

  private static Tensor[] onDevice(Tensor... in) {
    Tensor[] there = new Tensor[in.length];
    for (int i = 0; i < in.length; i++) {
      there[i] = CudaOpCasesTest.onDevice(in[i]);
    }
    return there;
  }

  private static void allOrders(Runnable test) {
    try {
      EmulatorControl.inAllOrders(() -> Scope.run(test));
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  @Test
  void vectorsAndTheirTails() {
    for (DType dtype : FLOATING) {
      for (int n : new int[] {1, 7, 8, 2047, 2048, 2049, 5000}) {
        Scope.run(
            () -> {
              agree(new Unary(Unary.Kind.SILU), values(1, dtype, n));
              agree(new Binary(Binary.Kind.ADD), values(1, dtype, n), values(2, dtype, n));
            });
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Unary.Kind.class)
  void functionsFarFromZero(Unary.Kind kind) {
    double[] x = {
      0, -0.0, 1e-30, -1e-30, 1e-4, -1e-4, 0.5, -0.5, 1.5, 2.5, -2.5, 5, -5, 9.5, -9.5, 15, -15, 40,
      -40, 88, -88, 1e4, -1e4
    };
    boolean angle = kind == Unary.Kind.SIN || kind == Unary.Kind.COS;
    for (DType dtype : FLOATING) {
      Scope.run(() -> agree(new Unary(kind), Tensor.of(x, dtype, Device.CPU, x.length)));
      double[] ends = {Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, Double.NaN};
      if (!angle) {
        Scope.run(() -> agree(new Unary(kind), Tensor.of(ends, dtype, Device.CPU, 3)));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(UnaryBackward.Kind.class)
  void derivatives(UnaryBackward.Kind kind) {
    for (DType dtype : FLOATING) {
      Scope.run(
          () -> agree(new UnaryBackward(kind), values(3, dtype, 3, 713), values(4, dtype, 3, 713)));
    }
  }

  @Test
  void geluIsExactInItsLeftTail() {
    Scope.run(
        () -> {
          float[] x = new float[97];
          for (int i = 0; i < x.length; i++) {
            x[i] = -0.125f * i;
          }
          double[] got =
              Eager.INSTANCE
                  .execute(new Unary(Unary.Kind.GELU), onDevice(Tensor.of(x, x.length)))[0]
                  .toDoubleArray();
          for (int i = 0; i < x.length; i++) {
            double e = Unary.Kind.GELU.apply(x[i]);
            // the fit 1.1e-7, e^x 2.4e-7, 1/x and roundings; e^(-x²/2) has its argument's error too
            double most = (6e-7 + x[i] * x[i] * 6e-8) * Math.abs(e) + 1e-37;
            assertTrue(Math.abs(e - got[i]) <= most, x[i] + ": " + e + ", got " + got[i]);
          }
        });
  }

  @Test
  void broadcasting() {
    int[][][] shapes = {
      {{3, 5, 64}, {64}}, // a row of vectors
      {{3, 5, 64}, {3, 5, 1}}, // a value per row
      {{2, 16, 5, 8}, {16, 1, 1}}, // channels
      {{2, 16, 3, 3}, {16, 1, 1}}, // channels, rows no multiple of a vector
      {{2, 16, 3, 3}, {2, 16, 1, 1}},
      {{2100}, {}}, // one value
      {{7}, {}},
      {{3, 1, 40}, {1, 9, 40}}, // both
      {{4, 1}, {1, 515}}, // column and row
      {{2, 3, 4, 5, 2, 3, 2, 8}, {2, 1, 4, 1, 2, 1, 2, 1}}, // eight axes
    };
    for (DType dtype : FLOATING) {
      for (int[][] pair : shapes) {
        Scope.run(
            () -> {
              Tensor a = values(5, dtype, pair[0]);
              Tensor b = values(6, dtype, pair[1]);
              agree(new Binary(Binary.Kind.MUL), a, b);
              agree(new Binary(Binary.Kind.SUB), b, a);
            });
      }
    }
  }

  @Test
  void channelsLastWithAChannelVector() {
    for (DType dtype : FLOATING) {
      Scope.run(
          () -> {
            Tensor x = values(7, dtype, 3, 24, 5, 7);
            Tensor last = Shaping.channelsLast(x);
            agree(new Binary(Binary.Kind.ADD), last, values(8, dtype, 24, 1, 1));
            agree(new Binary(Binary.Kind.ADD), last, values(8, dtype, 3, 24, 1, 1));
            agree(new Binary(Binary.Kind.ADD), last, x);
            agree(new Binary(Binary.Kind.ADD), x, last);
            agree(new Unary(Unary.Kind.GELU), last);
            agree(new Where(), Num.gt(last, x.mul(0.5)), last, x);
            agree(new Compare(Compare.Kind.LT), last, values(8, dtype, 24, 1, 1));
          });
    }
  }

  @Test
  void slicesAndTransposes() {
    for (DType dtype : FLOATING) {
      Scope.run(
          () -> {
            Tensor wide = values(9, dtype, 9, 5, 48);
            agree(new Unary(Unary.Kind.GELU_TANH), wide.slice(2, 0, 24));
            agree(new Unary(Unary.Kind.GELU_TANH), wide.slice(2, 3, 27)); // not aligned
            agree(new Binary(Binary.Kind.MUL), wide.slice(2, 0, 24), wide.slice(2, 24, 48));
            agree(new Binary(Binary.Kind.MUL), wide.transpose(0, 2), wide.transpose(0, 2));
            agree(
                new Binary(Binary.Kind.ADD),
                wide.transpose(0, 2),
                wide.transpose(0, 2).contiguous());
          });
    }
  }

  @Test
  void parametersOfFunctions() {
    for (DType dtype : FLOATING) {
      Scope.run(
          () -> {
            Tensor x = values(10, dtype, 301);
            agree(new Affine(-1.5, 0.25), x);
            agree(new Clamp(-0.5, 0.75), x);
            for (double p : new double[] {0, 1, 2, 3, 4, 7, -1, -2, 0.5, 17}) {
              agree(new PowScalar(p), Num.clamp(x, -1.25, 1.25).mul(p == 0.5 ? 0 : 1));
            }
          });
    }
  }

  @Test
  void addingInPlace() {
    DType[][] pairs = {
      {DType.F32, DType.F32}, {DType.F32, DType.BF16}, {DType.F32, DType.F16},
      {DType.BF16, DType.F32}, {DType.BF16, DType.BF16}, {DType.F16, DType.F32},
      {DType.F16, DType.F16}, {DType.F64, DType.F64}
    };
    for (DType[] pair : pairs) {
      for (boolean gaps : new boolean[] {false, true}) {
        Scope.run(
            () -> {
              Tensor wide = values(11, pair[0], 13, 5, 48);
              Tensor x = values(12, pair[1], 13, 5, 48);
              AddInPlace op = new AddInPlace(0.75);
              allOrders(
                  () -> {
                    Tensor target = wide.mul(1);
                    Tensor there = CudaOpCasesTest.onDevice(target);
                    Tensor summand = CudaOpCasesTest.onDevice(x);
                    if (gaps) {
                      target = target.slice(2, 8, 40);
                      Eager.INSTANCE.execute(op, there.slice(2, 8, 40), summand.slice(2, 0, 32));
                      Eager.INSTANCE.execute(op, target, x.slice(2, 0, 32));
                      there = there.slice(2, 8, 40);
                    } else {
                      Eager.INSTANCE.execute(op, there, summand);
                      Eager.INSTANCE.execute(op, target, x);
                    }
                    assertArrayEquals(
                        target.toDoubleArray(),
                        there.contiguous().toDoubleArray(),
                        pair[0] == DType.F64 ? 1e-15 : pair[0] == DType.F32 ? 1e-6 : 0.02);
                  });
            });
      }
    }
  }
}
