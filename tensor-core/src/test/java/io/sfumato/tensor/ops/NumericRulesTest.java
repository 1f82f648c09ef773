// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What happens at NaN, infinities, ties and without elements, judged by PyTorch's answers. */
class NumericRulesTest {
  private static final double NAN = Double.NaN;
  private static final double INF = Double.POSITIVE_INFINITY;

  private Scope scope;

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private static Tensor matrix(DType dtype) {
    return Tensor.of(new double[] {1, NAN, 3, 2, 2, -1}, dtype, Device.CPU, 2, 3);
  }

  private static void same(Tensor got, double... want) {
    assertArrayEquals(want, got.toDoubleArray(), 1e-6);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "BF16"})
  void nanWinsInReductions(DType dtype) {
    Tensor x = matrix(dtype);
    same(x.max(1), NAN, 2);
    same(x.min(1), NAN, -1);
    same(x.max(0), 2, NAN, 3);
    same(x.min(0), 1, NAN, -1);
    same(x.sum(1), NAN, 3);
    same(Num.argmax(x, 1, false), 1, 0);
    same(Num.argmin(x, 1, false), 1, 2);
    same(Num.argmax(x), 1);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "BF16"})
  void nanStaysNan(DType dtype) {
    Tensor x = matrix(dtype);
    same(Num.clamp(x, 0, 1), 1, NAN, 1, 1, 1, 0);
    same(NN.relu(x), 1, NAN, 3, 2, 2, 0);
    same(Num.maximum(x, Tensor.scalar(2).to(dtype)), 2, NAN, 3, 2, 2, 2);
    same(Num.sign(x), 1, NAN, 1, 1, 1, -1);
    same(Num.floor(x), 1, NAN, 3, 2, 2, -1);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void comparisonsWithNanAreFalse(DType dtype) {
    Tensor x = matrix(dtype);
    same(Num.eq(x, x), 1, 0, 1, 1, 1, 1);
    same(Num.ne(x, x), 0, 1, 0, 0, 0, 0);
    same(Num.le(x, 2), 1, 0, 0, 1, 1, 1);
    same(Num.isFinite(x), 1, 0, 1, 1, 1, 1);
    same(Num.isFinite(Tensor.of(new double[] {INF, -INF, 0}, 3)), 0, 0, 1);
  }

  @Test
  void sortingPutsNanLastAndKeepsTheOrderOfEquals() {
    Num.Sorted up = Num.sort(matrix(DType.F32), 1, false);
    same(up.values(), 1, 3, NAN, -1, 2, 2);
    same(up.indices(), 0, 2, 1, 2, 0, 1);
    Num.Sorted top = Num.topk(matrix(DType.F32), 2, 1, true);
    same(top.values(), NAN, 3, 2, 2);
    same(top.indices(), 1, 2, 0, 1);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void infinitiesInSoftmax(DType dtype) {
    Tensor x = Tensor.of(new double[] {-INF, -INF, INF, 0, 1, 2}, dtype, Device.CPU, 3, 2);
    same(Num.logsumexp(x, 1), -INF, INF, 2.313261687518);
    Tensor masked = Tensor.of(new double[] {0, -INF, 0, -INF}, dtype, Device.CPU, 4);
    same(NN.softmax(masked, 0), 0.5, 0, 0.5, 0);
    assertTrue(Double.isNaN(NN.softmax(x, 1).toDoubleArray()[0]));
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void nothingToReduce(DType dtype) {
    Tensor none = Tensor.of(new double[0], dtype, Device.CPU, 2, 0);
    same(none.sum(1), 0, 0);
    same(none.sum(), 0);
    same(none.mean(1), NAN, NAN);
    same(Num.prod(none, 1), 1, 1);
    same(Num.any(none, 1), 0, 0);
    same(Num.all(none, 1), 1, 1);
    assertEquals(0, none.max(0).numel());
    assertThrows(ShapeException.class, () -> none.max(1));
    assertThrows(ShapeException.class, () -> Num.argmax(none));
  }

  @Test
  void integersAreSummedAsI64AndNotAveraged() {
    Tensor x = Tensor.of(new byte[] {(byte) 200, 100, 50}, 3);
    assertEquals(DType.I64, x.sum().dtype());
    assertEquals(350, x.sum().item());
    assertThrows(DTypeException.class, () -> x.mean());
    same(Num.gt(x, 99.5), 1, 1, 0);
  }

  @Test
  void castsTruncateAndRound() {
    Tensor x = Tensor.of(new double[] {-1.7, 1.7, 0, NAN, 300.5}, DType.F32, Device.CPU, 5);
    assertArrayEquals(new long[] {-1, 1, 0, 0, 300}, x.to(DType.I64).toLongArray());
    assertArrayEquals(new byte[] {1, 1, 0, 1, 1}, x.to(DType.BOOL).toByteArray());
    same(Tensor.scalar(1.00390625f).to(DType.BF16), 1);
  }

  @Test
  void boundedLogarithmsOfCrossEntropies() {
    Tensor p = Tensor.of(new float[] {0, 1, 0.5f}, 3);
    Tensor t = Tensor.of(new float[] {0, 0, 1}, 3);
    same(NN.bce(p, t, Reduction.NONE), 0, 100, 0.6931472);
    Tensor logits = Tensor.of(new float[] {-200, 200, 0}, 3);
    same(NN.bceWithLogits(logits, t, Reduction.NONE), 0, 200, 0.6931472);
    Tensor ignored = Tensor.of(new long[] {-100, -100}, 2);
    assertTrue(Double.isNaN(NN.crossEntropy(Tensor.zeros(2, 3), ignored).item()));
    Tensor beyond = Tensor.of(new long[] {1, 3}, 2);
    ShapeException e =
        assertThrows(ShapeException.class, () -> NN.crossEntropy(Tensor.zeros(2, 3), beyond));
    assertTrue(String.valueOf(e.getMessage()).contains("one is 3"), e.getMessage());
  }

  @Test
  void divergenceCountsNothingWhereTheTargetIsZero() {
    Tensor x = Tensor.of(new float[] {-1, -2}, 2);
    Tensor t = Tensor.of(new float[] {0, 0.5f}, 2);
    same(NN.klDiv(x, t, false, Reduction.NONE), 0, 0.5 * (Math.log(0.5) + 2));
  }
}
