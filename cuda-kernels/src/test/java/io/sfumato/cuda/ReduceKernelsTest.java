// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.integers;
import static io.sfumato.cuda.DeviceAgreement.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.ArgReduce;
import io.sfumato.tensor.ops.BinaryCrossEntropy;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.CrossEntropyBackward;
import io.sfumato.tensor.ops.CumSum;
import io.sfumato.tensor.ops.LogSoftmax;
import io.sfumato.tensor.ops.LogSoftmaxBackward;
import io.sfumato.tensor.ops.LogSumExp;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.MseBackward;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.ProdBackward;
import io.sfumato.tensor.ops.Reduce;
import io.sfumato.tensor.ops.Reduction;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.SoftmaxBackward;
import io.sfumato.tensor.ops.SumTo;
import io.sfumato.tensor.ops.Variance;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Reductions, softmaxes, running sums and losses at sizes that take every path of the kernels. */
class ReduceKernelsTest {
  private static final double F32 = 2e-6;

  // ---- reductions

  /** Shapes with the axes that go, and an order of axes in memory. */
  static Stream<Arguments> reductions() {
    return Stream.of(
        Arguments.of("long rows, vectors", new int[] {3, 65536}, List.of(1), null),
        Arguments.of("long rows, odd", new int[] {2, 30001}, List.of(1), null),
        Arguments.of("rows of a block", new int[] {5, 1000}, List.of(-1), null),
        Arguments.of("rows of a warp", new int[] {2200, 68}, List.of(1), null),
        Arguments.of("rows of a few lanes", new int[] {1001, 7}, List.of(1), null),
        Arguments.of("everything", new int[] {37, 11, 101}, List.of(), null),
        Arguments.of("columns, vectors", new int[] {5000, 24}, List.of(0), null),
        Arguments.of("columns, odd", new int[] {3001, 5}, List.of(0), null),
        Arguments.of("many columns", new int[] {17, 4100}, List.of(0), null),
        Arguments.of("one column", new int[] {2, 3000, 1}, List.of(1), null),
        Arguments.of("batches of columns", new int[] {3, 100, 136}, List.of(1), null),
        Arguments.of("channels", new int[] {4, 13, 9, 8}, List.of(0, 2, 3), null),
        Arguments.of("channels, odd", new int[] {3, 13, 9, 7}, List.of(0, 2, 3), null),
        Arguments.of(
            "channels-last, channels",
            new int[] {4, 24, 9, 8},
            List.of(0, 2, 3),
            new int[] {0, 2, 3, 1}),
        Arguments.of(
            "channels-last, pixels",
            new int[] {3, 24, 9, 7},
            List.of(2, 3),
            new int[] {0, 2, 3, 1}),
        Arguments.of(
            "channels-last, batch", new int[] {5, 24, 3, 7}, List.of(0), new int[] {0, 2, 3, 1}),
        Arguments.of("every other axis", new int[] {3, 4, 5, 6, 7}, List.of(0, 2, 4), null),
        Arguments.of(
            "every other axis, mixed",
            new int[] {3, 4, 5, 6, 2},
            List.of(1, 3),
            new int[] {4, 1, 3, 0, 2}));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("reductions")
  void sumsAndExtrema(String name, int[] shape, List<Integer> axes, int[] order) throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor x = laid(normal(DType.F32, 1, shape), order);
      check(F32, new Reduce(Reduce.Kind.SUM, axes, false), x);
      check(F32, new Reduce(Reduce.Kind.MEAN, axes, true), x);
      check(0, new Reduce(Reduce.Kind.MAX, axes, false), x);
      check(F32, new Variance(axes, 1, false, true), x);
      check(F32, new LogSumExp(axes, false), x);
      if (axes.size() == 1) {
        check(0, new ArgReduce(false, axes.getFirst(), false), x);
        Tensor ties = laid(integers(DType.F32, 2, 9, shape), order);
        check(0, new ArgReduce(true, axes.getFirst(), true), ties);
      }
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("reductions")
  void otherTypes(String name, int[] shape, List<Integer> axes, int[] order) throws Throwable {
    try (Scope scope = Scope.open()) {
      for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
        check(F32, new Reduce(Reduce.Kind.SUM, axes, false), laid(normal(dtype, 3, shape), order));
      }
      Tensor bytes = laid(integers(DType.U8, 4, 250, shape), order);
      check(0, new Reduce(Reduce.Kind.SUM, axes, false), bytes);
      check(0, new Reduce(Reduce.Kind.MIN, axes, false), bytes);
      Tensor truth = laid(integers(DType.BOOL, 5, 2, shape), order);
      check(0, new Reduce(Reduce.Kind.ALL, axes, false), truth);
    }
  }

  /** The same values with the axes in another order in memory. */
  private static Tensor laid(Tensor x, int[] order) {
    if (order == null) {
      return x;
    }
    int[] inverse = new int[order.length];
    for (int i = 0; i < order.length; i++) {
      inverse[order[i]] = i;
    }
    return x.permute(order).contiguous().permute(inverse);
  }

  @Test
  void sumsOfBroadcastsAndPartsOfTensors() throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor row = normal(DType.F32, 6, 1, 40).expand(30, 40);
      check(F32, new Reduce(Reduce.Kind.SUM, List.of(0), false), row);
      check(F32, new Reduce(Reduce.Kind.SUM, List.of(1), false), row);
      Tensor part = normal(DType.F32, 7, 33, 70).slice(1, 3, 67);
      check(F32, new SumTo(Shape.of(64)), part);
      check(F32, new SumTo(Shape.of(33, 1)), part);
      check(F32, new SumTo(Shape.SCALAR), part);
    }
  }

  @Test
  void notANumberWins() throws Throwable {
    try (Scope scope = Scope.open()) {
      double[] v = normal(DType.F32, 8, 4 * 900).toDoubleArray();
      v[1000] = Double.NaN;
      v[1500] = Double.NaN;
      v[2000] = Double.POSITIVE_INFINITY;
      Tensor x = Tensor.of(v, DType.F32, io.sfumato.tensor.Device.CPU, 4, 900);
      for (int axis = 0; axis < 2; axis++) {
        check(0, new Reduce(Reduce.Kind.MAX, List.of(axis), false), x);
        check(0, new Reduce(Reduce.Kind.MIN, List.of(axis), false), x);
        check(0, new ArgReduce(true, axis, false), x);
        check(F32, new LogSumExp(List.of(axis), false), x);
      }
    }
  }

  @Test
  void runningSums() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (boolean reversed : new boolean[] {false, true}) {
        check(F32, new CumSum(1, reversed), normal(DType.F32, 9, 3, 2500));
        check(F32, new CumSum(1, reversed), normal(DType.F16, 10, 5, 33));
        check(F32, new CumSum(0, reversed), normal(DType.F32, 11, 40, 150));
        check(F32, new CumSum(-1, reversed), normal(DType.F32, 12, 300, 9));
        check(0, new CumSum(1, reversed), integers(DType.U8, 13, 255, 2, 3000));
      }
    }
  }

  // ---- softmaxes

  @Test
  void softmaxOfRows() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int n : new int[] {1, 3, 8, 77, 256, 257, 1024, 1025, 4100}) {
        softmax(DType.F32, 1, n > 1000 ? 2 : 35, n);
        softmax(DType.BF16, 1, n > 1000 ? 2 : 11, n);
      }
      softmax(DType.F16, 1, 2, 8192);
      softmax(DType.F32, 1, 1, 9000); // beyond what a gradient keeps in registers
      softmax(DType.F32, 1, 1, 17000); // beyond what a block keeps in registers
      softmax(DType.F64, 1, 3, 600);
    }
  }

  @Test
  void softmaxOfOtherAxes() throws Throwable {
    try (Scope scope = Scope.open()) {
      softmax(DType.F32, 1, 2, 300, 37);
      softmax(DType.F32, 0, 70, 5);
      softmax(DType.BF16, 1, 3, 9, 130);
    }
  }

  private static void softmax(DType dtype, int axis, int... shape) throws Throwable {
    Tensor x = normal(dtype, 14, shape);
    Tensor g = normal(dtype, 15, shape);
    check(F32, new Softmax(axis), x);
    check(F32, new LogSoftmax(axis), x);
    check(F32, new SoftmaxBackward(axis), x, g);
    check(F32, new LogSoftmaxBackward(axis), x, g);
  }

  // ---- losses

  @Test
  void crossEntropies() throws Throwable {
    try (Scope scope = Scope.open()) {
      List<int[]> shapes = new ArrayList<>();
      shapes.add(new int[] {37, 10});
      shapes.add(new int[] {3, 1500});
      shapes.add(new int[] {2, 11, 9, 7});
      shapes.add(new int[] {300, 2});
      for (int[] shape : shapes) {
        Shape positions = Shape.of(shape).without(1);
        Tensor logits = normal(DType.F32, 16, shape);
        Tensor classes = integers(DType.I64, 17, shape[1], positions.dims());
        Tensor weights = normal(DType.F32, 18, shape[1]).abs();
        for (Reduction reduction : Reduction.values()) {
          Tensor g =
              reduction == Reduction.NONE
                  ? normal(DType.F32, 19, positions.dims())
                  : normal(DType.F32, 19);
          CrossEntropy plain = new CrossEntropy(-100, 0, reduction);
          check(F32, plain, logits, classes);
          check(F32, new CrossEntropyBackward(plain), logits, classes, g);
          CrossEntropy full = new CrossEntropy(1, 0.1, reduction);
          check(F32, full, logits, classes, weights);
          check(F32, new CrossEntropyBackward(full), logits, classes, g, weights);
        }
      }
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("reductions")
  void gradientsOfProducts(String name, int[] shape, List<Integer> axes, int[] order)
      throws Throwable {
    try (Scope scope = Scope.open()) {
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        Tensor near = normal(DType.F32, 25, shape).mul(0.01).add(1);
        Tensor zeros = Num.clamp(integers(DType.F32, 26, 2000, shape), 0, 1);
        Tensor x = laid(near.mul(zeros), order).to(dtype);
        Reduce product = new Reduce(Reduce.Kind.PROD, axes, true);
        Tensor g = normal(dtype, 27, product.infer(List.of(x.spec())).getFirst().shape().dims());
        check(F32, new ProdBackward(axes), x, g);
      }
    }
  }

  @Test
  void pointwiseLosses() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        Tensor x = normal(dtype, 20, 7, 4099);
        Tensor t = normal(dtype, 21, 7, 4099);
        for (Reduction reduction : Reduction.values()) {
          Tensor g = reduction == Reduction.NONE ? normal(dtype, 22, 7, 4099) : normal(dtype, 22);
          check(F32, new Mse(reduction), x, t);
          check(F32, new MseBackward(reduction), x, t, g);
        }
      }
      Op bce = new BinaryCrossEntropy();
      Tensor p = integers(DType.F32, 23, 1001, 4099).div(1000);
      check(F32, bce, p, integers(DType.F32, 24, 2, 4099));
    }
  }
}
