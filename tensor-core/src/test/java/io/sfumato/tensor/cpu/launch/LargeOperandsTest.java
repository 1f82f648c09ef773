// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.ops.AdamWStep;
import io.sfumato.tensor.ops.Affine;
import io.sfumato.tensor.ops.ArgReduce;
import io.sfumato.tensor.ops.Binary;
import io.sfumato.tensor.ops.Cast;
import io.sfumato.tensor.ops.Contiguous;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.MseBackward;
import io.sfumato.tensor.ops.Reduce;
import io.sfumato.tensor.ops.Reduction;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.SquaredNorm;
import io.sfumato.tensor.ops.SumTo;
import io.sfumato.tensor.ops.Unary;
import io.sfumato.tensor.ops.Where;
import io.sfumato.tensor.ops.cases.Input;
import io.sfumato.tensor.ops.cases.OpCase;
import io.sfumato.tensor.testing.Relay;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Sizes at which work is cut into pieces and shared among threads: a fast kernel takes the case,
 * agrees with the reference, and does not depend on the number of threads.
 */
class LargeOperandsTest {
  private static final double RELATIVE = 4e-6;

  static List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    Binary add = new Binary(Binary.Kind.ADD);
    Input flat = Input.normal(3, 33, 401);
    cases.add(OpCase.of("flat", new Unary(Unary.Kind.SILU), flat));
    cases.add(OpCase.of("flat", new Affine(2, 1), flat));
    cases.add(OpCase.of("flat", add, flat, flat));
    cases.add(OpCase.of("long rows", add, Input.normal(2, 20000), Input.normal(20000)));
    cases.add(OpCase.of("short rows", add, Input.normal(9000, 5), Input.normal(5)));
    cases.add(OpCase.of("short rows left", add, Input.normal(5), Input.normal(9000, 5)));
    cases.add(OpCase.of("batches", add, Input.normal(3, 700, 19), Input.normal(3, 1, 19)));
    cases.add(OpCase.of("per row", add, Input.normal(300, 129), Input.normal(300, 1)));
    cases.add(OpCase.of("maps", add, Input.normal(2, 24, 30, 30), Input.normal(1, 24, 1, 1)));
    cases.add(OpCase.of("maps", add, Input.normal(2, 24, 30, 30), Input.normal(2, 24, 1, 1)));
    cases.add(OpCase.of("outer sum", add, Input.normal(300, 1), Input.normal(1, 301)));
    cases.add(OpCase.of("scalar", add, flat, Input.normal()));
    cases.add(OpCase.of("flat", new Where(), Input.bools(3, 33, 401), flat, Input.normal()));
    cases.add(OpCase.of("to bf16", new Cast(DType.BF16), flat));
    cases.add(OpCase.of("to i64", new Cast(DType.I64), flat));
    cases.add(OpCase.of("maps", new Contiguous(true), Input.normal(2, 24, 30, 31)));
    cases.add(OpCase.of("maps", new Contiguous(false), Input.normal(2, 24, 30, 31)));
    for (Reduce.Kind kind :
        new Reduce.Kind[] {Reduce.Kind.SUM, Reduce.Kind.MEAN, Reduce.Kind.MAX, Reduce.Kind.MIN}) {
      cases.add(OpCase.of("all", new Reduce(kind, List.of(), false), Input.normal(3, 70001)));
      cases.add(OpCase.of("rows", new Reduce(kind, List.of(1), false), Input.normal(2, 70001)));
      cases.add(OpCase.of("rows", new Reduce(kind, List.of(1), false), Input.normal(900, 70)));
      cases.add(OpCase.of("columns", new Reduce(kind, List.of(0), false), Input.normal(900, 77)));
      cases.add(OpCase.of("middle", new Reduce(kind, List.of(1), true), Input.normal(40, 50, 33)));
      cases.add(
          OpCase.of(
              "maps", new Reduce(kind, List.of(0, 2, 3), false), Input.normal(2, 24, 30, 31)));
    }
    cases.add(
        OpCase.of("bias", new SumTo(Input.normal(24, 1, 1).shape()), Input.normal(2, 24, 30, 31)));
    cases.add(OpCase.of("rows", new ArgReduce(true, 1, false), Input.normal(300, 129)));
    cases.add(OpCase.of("rows", new Softmax(-1), Input.normal(300, 129)));
    cases.add(OpCase.of("columns", new Softmax(0), Input.normal(300, 129)));
    cases.add(OpCase.of("flat", new Mse(Reduction.MEAN), flat, flat));
    cases.add(OpCase.of("flat", new MseBackward(Reduction.MEAN), flat, flat, Input.normal()));
    cases.add(
        OpCase.of(
            "maps",
            new CrossEntropy(-100, 0.1, Reduction.MEAN),
            Input.normal(2, 24, 30, 31),
            Input.integers(24, 2, 30, 31)));
    cases.add(OpCase.of("two", new SquaredNorm(), flat, Input.normal(40001)));
    Input positive = Input.positive(40001);
    Input normal = Input.normal(40001);
    cases.add(
        OpCase.of(
            "one",
            new AdamWStep(1, 0.01, 0.9, 0.99, 1e-8, 0.1, true, 2, 0.5),
            normal,
            normal,
            normal,
            positive));
    return cases;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void aFastKernelAgreesWithTheReference(OpCase c) {
    Relay[] relays = {Relay.ROW_MAJOR, Relay.CHANNELS_LAST, Relay.PERMUTED, Relay.ROWS_APART};
    for (Relay relay : c.op() instanceof InPlaceOp ? new Relay[] {Relay.ROW_MAJOR} : relays) {
      Scope.run(() -> check(c, relay));
    }
  }

  private static void check(OpCase c, Relay relay) {
    Tensor[] in = laid(c, relay);
    Dense[] x =
        Arrays.stream(in)
            .map(t -> new Dense(t.shape(), t.dtype(), t.toDoubleArray()))
            .toArray(Dense[]::new);
    Dense[] y =
        c.op().infer(Arrays.stream(in).map(Tensor::spec).toList()).stream()
            .map(s -> Dense.zeros(s.shape(), s.dtype()))
            .toArray(Dense[]::new);
    c.op().reference(x, y);
    Dense[] want = c.op() instanceof InPlaceOp ? x : y;
    Tensor[] out = Eager.INSTANCE.execute(c.op(), in);
    assertNotNull(
        CpuBackend.instance().kernels().find(c.op(), in, out), c + ", " + relay + ": no kernel");
    Tensor[] got = c.op() instanceof InPlaceOp ? in : out;
    int before = Parallel.threads();
    double[][] one;
    try {
      Parallel.setThreads(before == 1 ? 3 : 1);
      Tensor[] again = laid(c, relay);
      Tensor[] outAgain = Eager.INSTANCE.execute(c.op(), again);
      one =
          Arrays.stream(c.op() instanceof InPlaceOp ? again : outAgain)
              .map(Tensor::toDoubleArray)
              .toArray(double[][]::new);
    } finally {
      Parallel.setThreads(before);
    }
    for (int i = 0; i < got.length; i++) {
      double[] values = got[i].toDoubleArray();
      assertArrayEquals(one[i], values, c + ", " + relay + ": depends on the threads");
      double largest = Arrays.stream(want[i].data()).map(Math::abs).max().orElse(0);
      boolean half = got[i].dtype() == DType.BF16;
      double tolerance = got[i].dtype().isFloating() ? largest * (half ? 4e-3 : RELATIVE) : 0;
      for (int k = 0; k < values.length; k++) {
        double exact = want[i].data()[k];
        double expected = got[i].dtype().isFloating() ? exact : (long) exact;
        if (Math.abs(values[k] - expected) > tolerance) {
          assertEquals(expected, values[k], tolerance, c + ", " + relay + ", element " + k);
        }
      }
    }
  }

  private static Tensor[] laid(OpCase c, Relay relay) {
    Tensor[] in = c.tensors(DType.F32);
    return IntStream.range(0, in.length).mapToObj(i -> relay.of(in[i])).toArray(Tensor[]::new);
  }
}
