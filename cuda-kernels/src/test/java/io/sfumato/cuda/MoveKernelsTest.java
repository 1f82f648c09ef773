// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Cast;
import io.sfumato.tensor.ops.Concat;
import io.sfumato.tensor.ops.Contiguous;
import io.sfumato.tensor.ops.CopyInto;
import io.sfumato.tensor.ops.Dropout;
import io.sfumato.tensor.ops.Flip;
import io.sfumato.tensor.ops.Full;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Pad;
import io.sfumato.tensor.ops.PadBackward;
import io.sfumato.tensor.ops.RandomFill;
import io.sfumato.tensor.ops.RandomIntegers;
import io.sfumato.tensor.ops.Roll;
import io.sfumato.tensor.ops.Sequence;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.SliceScatter;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Copies, casts, joins, padding and random numbers: equal to the CPU's to the bit. */
class MoveKernelsTest {
  private static final Device GPU = new Device("cuda", 0);

  private static Tensor values(DType dtype, int... shape) {
    Tensor x = Rng.seed(1).normal(shape).mul(40);
    return dtype == DType.BOOL ? Num.gt(x, 0) : x.to(dtype);
  }

  /** With the emulator's threads in all orders. */
  private static void equal(Op op, Tensor... in) {
    Tensor expected = Eager.INSTANCE.execute(op, in)[0];
    allOrders(
        () -> {
          Tensor[] there = new Tensor[in.length];
          for (int i = 0; i < in.length; i++) {
            there[i] = CudaOpCasesTest.onDevice(in[i]);
          }
          Tensor got = Eager.INSTANCE.execute(op, there)[0];
          assertEquals(expected.layout(), got.layout(), op + ": memory order");
          assertArrayEquals(
              expected.toDoubleArray(), got.toDoubleArray(), op + " of " + in[0].layout());
        });
  }

  /** The same draw on both devices. */
  private static void equal(Function<Device, Op> op) {
    Tensor expected = Eager.INSTANCE.execute(op.apply(Device.CPU))[0];
    allOrders(
        () -> {
          Tensor got = Eager.INSTANCE.execute(op.apply(GPU))[0];
          assertArrayEquals(
              expected.toDoubleArray(), got.toDoubleArray(), op.apply(GPU).toString());
        });
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

  @ParameterizedTest
  @EnumSource(DType.class)
  void ordersOfMemory(DType dtype) {
    Scope.run(
        () -> {
          Tensor x = values(dtype, 2, 70, 9, 11);
          Tensor narrow = values(dtype, 3, 3, 17, 19);
          for (Tensor t : new Tensor[] {x, narrow}) {
            equal(new Contiguous(true), t);
            equal(new Contiguous(false), Shaping.channelsLast(t));
            equal(new Contiguous(false), t.permute(3, 1, 0, 2));
            equal(new Contiguous(true), t.permute(3, 1, 0, 2));
            equal(new Contiguous(false), t.slice(3, 1, 8));
            equal(new Contiguous(false), t.slice(2, 1, 8));
          }
          equal(new Contiguous(false), values(dtype, 200, 130).transpose(0, 1));
          equal(new Contiguous(false), values(dtype, 2, 65, 3, 32).transpose(1, 2));
          equal(new Contiguous(false), values(dtype, 64).unsqueeze(0).expand(5, 64));
          equal(
              new Contiguous(false),
              values(dtype, 2, 3, 2, 3, 2, 3, 2, 3).permute(7, 5, 3, 1, 0, 2, 4, 6));
        });
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void casts(DType to) {
    for (DType from : DType.values()) {
      Scope.run(
          () -> {
            Tensor x = values(from, 3, 7, 113);
            equal(new Cast(to), x);
            equal(new Cast(to), x.transpose(0, 2));
            equal(new Cast(to), x.slice(2, 1, 65));
          });
    }
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void castsOfExtremes(DType to) {
    double[] x = {
      0,
      -0.0,
      0.5,
      -0.9,
      1.5,
      255,
      256,
      300,
      -1,
      -129,
      65504,
      65520,
      1e5,
      2147483647,
      2147483648.0,
      -2147483649.0,
      9.3e18,
      -9.3e18,
      3.5e38,
      -3.5e38,
      1e-8,
      1e-40,
      1e300,
      Double.NaN,
      Double.POSITIVE_INFINITY,
      Double.NEGATIVE_INFINITY
    };
    for (DType from : new DType[] {DType.F64, DType.F32, DType.BF16, DType.F16, DType.I64}) {
      Scope.run(() -> equal(new Cast(to), Tensor.of(x, from, Device.CPU, x.length)));
    }
    long[] whole = {
      Long.MAX_VALUE, Long.MIN_VALUE, (1L << 53) + 1, (1L << 24) + 1, (1L << 62) + 12345
    };
    Scope.run(() -> equal(new Cast(to), Tensor.of(whole, whole.length)));
  }

  @Test
  void copiesIntoSlicesLeaveTheRestAlone() {
    for (DType from : new DType[] {DType.F32, DType.BF16}) {
      Scope.run(
          () -> {
            Tensor x = values(from, 5, 9, 16);
            Tensor target = values(DType.F32, 5, 20, 16);
            allOrders(
                () -> {
                  Tensor there = CudaOpCasesTest.onDevice(target);
                  Tensor here = target.mul(1);
                  Eager.INSTANCE.execute(
                      new CopyInto(), there.slice(1, 4, 13), CudaOpCasesTest.onDevice(x));
                  Eager.INSTANCE.execute(new CopyInto(), here.slice(1, 4, 13), x);
                  assertArrayEquals(here.toDoubleArray(), there.toDoubleArray());
                });
          });
    }
  }

  @Test
  void joins() {
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.U8, DType.I64}) {
      Scope.run(
          () -> {
            Tensor a = values(dtype, 2, 24, 5, 3);
            Tensor b = values(dtype, 2, 7, 5, 3);
            equal(new Concat(1), a, b);
            equal(new Concat(1), Shaping.channelsLast(a), Shaping.channelsLast(b));
            equal(new Concat(1), Shaping.channelsLast(a), b);
            equal(new Concat(2), a, a, a, a, a, a, a, a, a, a);
            equal(new Concat(0), a, a.slice(0, 0, 0), a);
            equal(new Concat(1, List.of(0, 2, 3, 1)), a, b);
            Tensor wide = values(dtype, 40, 33, 2);
            equal(new Concat(2), wide, wide);
            equal(new Concat(1), wide.transpose(0, 1), wide.transpose(0, 1));
          });
    }
  }

  @Test
  void movesAlongAxes() {
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.BOOL, DType.F64}) {
      Scope.run(
          () -> {
            Tensor x = values(dtype, 2, 24, 5, 7);
            for (Tensor t : new Tensor[] {x, Shaping.channelsLast(x), x.transpose(1, 3)}) {
              equal(new Flip(List.of(1)), t);
              equal(new Flip(List.of(2, -1)), t);
              equal(new Roll(List.of(3), List.of(2)), t);
              equal(new Roll(List.of(-2, 3), List.of(2, 3)), t);
              equal(new Roll(List.of(1, 5, -2, 3), List.of(0, 1, 2, 3)), t);
              for (Pad.Mode mode : Pad.Mode.values()) {
                equal(new Pad(List.of(0, 0, 2, 1), List.of(0, 0, 1, 3), mode, 1), t);
                equal(new Pad(List.of(1, 2, 0, 0), List.of(0, 1, 2, 0), Pad.Mode.CONSTANT, 0), t);
              }
              equal(new SliceScatter(2, 1, t.dim(2) + 1, 1, t.dim(2) + 2), t);
              equal(new SliceScatter(1, 1, 2 * t.dim(1), 2, 2 * t.dim(1)), t);
            }
          });
    }
  }

  @Test
  void adjointsOfPadding() {
    for (Pad.Mode mode : new Pad.Mode[] {Pad.Mode.REFLECT, Pad.Mode.REPLICATE}) {
      Pad pad = new Pad(List.of(0, 0, 3, 1), List.of(0, 1, 2, 4), mode, 0);
      Scope.run(
          () -> {
            // whole numbers, so that sums in any order are exact
            Tensor g = values(DType.I32, 2, 4, 9, 10).to(DType.F32);
            equal(new PadBackward(pad, Shape.of(2, 3, 4, 5)), g);
            equal(new PadBackward(pad, Shape.of(2, 3, 4, 5)), Shaping.channelsLast(g));
            equal(new PadBackward(pad, Shape.of(2, 3, 4, 5)), g.to(DType.F64));
          });
    }
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void constantsAndSequences(DType dtype) {
    for (int n : new int[] {1, 15, 1000, 20001}) {
      for (double value : new double[] {0, 1, -3, 0.1}) {
        Scope.run(() -> equal(d -> new Full(new TensorSpec(Shape.of(n), dtype, d), value)));
      }
      if (dtype != DType.BOOL) {
        Scope.run(() -> equal(d -> new Sequence(1.5, 0.1, new TensorSpec(Shape.of(n), dtype, d))));
      }
    }
  }

  @Test
  void randomNumbersAreTheCpus() {
    long key = 0x123456789abcdefL;
    for (DType dtype : new DType[] {DType.F32, DType.F64, DType.BF16, DType.F16}) {
      for (int n : new int[] {1, 2, 3, 4, 1021, 30_000}) {
        for (RandomFill.Kind kind : RandomFill.Kind.values()) {
          Scope.run(
              () -> equal(d -> new RandomFill(kind, key, new TensorSpec(Shape.of(n), dtype, d))));
        }
      }
    }
    for (long high : new long[] {1, 10, 1L << 40, Long.MAX_VALUE}) {
      Shape shape = Shape.of(1021);
      Scope.run(
          () ->
              equal(
                  d -> new RandomIntegers(-5, high - 5, key, new TensorSpec(shape, DType.I64, d))));
    }
  }

  @Test
  void dropoutMasksBelongToTheRowMajorIndex() {
    for (DType dtype : new DType[] {DType.F32, DType.F64, DType.BF16, DType.F16}) {
      for (double p : new double[] {0, 0.1, 0.5, 1}) {
        Scope.run(
            () -> {
              Tensor x = values(dtype, 3, 7, 5, 11);
              equal(new Dropout(p, 99), x);
              equal(new Dropout(p, 99), Shaping.channelsLast(x));
              equal(new Dropout(p, 99), x.slice(3, 1, 10));
            });
      }
    }
  }
}
