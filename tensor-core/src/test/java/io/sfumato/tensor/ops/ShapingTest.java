// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What the facade adds to the ops: Python's bounds, numbers of parts, compositions. */
class ShapingTest {
  private static void expect(Tensor t, int[] shape, double... values) {
    assertEquals(Shape.of(shape), t.shape());
    assertArrayEquals(values, t.toDoubleArray());
  }

  private static int[] shape(int... dims) {
    return dims;
  }

  @Test
  void sliceTakesBoundsAsPythonDoes() {
    Scope.run(
        () -> {
          Tensor x = Tensor.arange(6);
          expect(Shaping.slice(x, 0, -2, Integer.MAX_VALUE, 1), shape(2), 4, 5);
          expect(Shaping.slice(x, 0, 1, -1, 2), shape(2), 1, 3);
          expect(Shaping.slice(x, 0, 4, 2, 1), shape(0));
          expect(Shaping.slice(x, 0, -99, 2, 1), shape(2), 0, 1);
          assertSame(x, Shaping.slice(x, 0, 0, 6, 1));
          assertSame(x.storage(), x.slice(0, 1, 3).storage(), "a view");
        });
  }

  @Test
  void narrowRefusesWhatIsNotThere() {
    Scope.run(
        () -> {
          Tensor x = Tensor.arange(6);
          expect(Shaping.narrow(x, 0, -2, 2), shape(2), 4, 5);
          assertThrows(ShapeException.class, () -> Shaping.narrow(x, 0, 4, 3));
        });
  }

  @Test
  void partsCoverTheAxis() {
    Scope.run(
        () -> {
          Tensor x = Tensor.arange(7);
          assertEquals(List.of(3, 3, 1), sizes(Shaping.split(x, 3, 0)));
          assertEquals(List.of(2, 0, 5), sizes(Shaping.split(x, new int[] {2, 0, 5}, 0)));
          assertEquals(List.of(2, 2, 2, 1), sizes(Shaping.chunk(x, 4, 0)));
          assertEquals(List.of(2, 2, 2, 1), sizes(Shaping.chunk(x, 5, 0)));
          assertEquals(7, Shaping.unbind(x, 0).size());
          assertThrows(ShapeException.class, () -> Shaping.split(x, new int[] {2, 4}, 0));
          assertThrows(ShapeException.class, () -> Shaping.split(x, 0, 0));
        });
  }

  private static List<Integer> sizes(List<Tensor> parts) {
    return parts.stream().map(p -> p.dim(0)).toList();
  }

  @Test
  void flattenAndMovedimReorderAxes() {
    Scope.run(
        () -> {
          Tensor x = Tensor.zeros(2, 3, 4, 5);
          assertEquals(Shape.of(2, 12, 5), Shaping.flatten(x, 1, -2).shape());
          assertEquals(Shape.of(3, 4, 2, 5), Shaping.movedim(x, 0, 2).shape());
          assertEquals(Shape.of(5, 2, 3, 4), Shaping.movedim(x, -1, 0).shape());
        });
  }

  @Test
  void concatPromotesTypesAndKeepsChannelsLast() {
    Scope.run(
        () -> {
          Tensor whole = Tensor.arange(2);
          Tensor y = Shaping.concat(0, whole, Tensor.of(new float[] {0.5f}, 1));
          assertEquals(DType.F32, y.dtype());
          expect(y, shape(3), 0, 1, 0.5);
          Tensor image = Shaping.channelsLast(Tensor.zeros(1, 4, 3, 3));
          assertTrue(Shaping.concat(1, image, image).layout().isChannelsLast());
          Tensor token = Tensor.zeros(2, 1, 8);
          assertTrue(Shaping.concat(1, token, token).layout().isContiguous());
          expect(Shaping.stack(-1, whole, whole), shape(2, 2), 0, 0, 1, 1);
        });
  }

  @Test
  void padTakesElementsAwayWhereItIsNegative() {
    Scope.run(
        () -> {
          Tensor x = Tensor.arange(4);
          expect(Shaping.pad(x, new int[][] {{-1, 2}}, 9), shape(5), 1, 2, 3, 9, 9);
          assertSame(x, Shaping.pad(x, new int[][] {{0, 0}}, 9));
          assertThrows(ShapeException.class, () -> Shaping.pad(x, new int[][] {{1}}, 0));
        });
  }

  @Test
  void tileAndRepeatInterleave() {
    Scope.run(
        () -> {
          Tensor x = Tensor.arange(2);
          expect(Shaping.tile(x, 2, 2), shape(2, 4), 0, 1, 0, 1, 0, 1, 0, 1);
          expect(Shaping.repeatInterleave(x, 3, 0), shape(6), 0, 0, 0, 1, 1, 1);
        });
  }

  @Test
  void matricesFromNothing() {
    Scope.run(
        () -> {
          expect(Shaping.eye(2), shape(2, 2), 1, 0, 0, 1);
          expect(Shaping.linspace(1, 2, 5), shape(5), 1, 1.25, 1.5, 1.75, 2);
          expect(Shaping.linspace(1, 2, 1), shape(1), 1);
          Tensor ones = Tensor.ones(2, 3);
          expect(Shaping.tril(ones, 0), shape(2, 3), 1, 0, 0, 1, 1, 0);
          expect(Shaping.triu(ones, 1), shape(2, 3), 0, 1, 1, 0, 0, 1);
          Tensor classes = Tensor.of(new long[] {2, 0}, 2);
          expect(Shaping.oneHot(classes, 3, DType.I64), shape(2, 3), 0, 0, 1, 1, 0, 0);
          assertThrows(ShapeException.class, () -> Shaping.oneHot(classes, 2, DType.F32));
        });
  }

  @Test
  void wholeNumbersBeyondDoubleAreMovedExactly() {
    Scope.run(
        () -> {
          long odd = (1L << 60) + 1;
          Tensor x = Tensor.of(new long[] {odd, -odd, 3, odd + 2}, 2, 2);
          Tensor index = Tensor.of(new long[] {1, 1, 0, 1}, 2, 2);
          assertArrayEquals(
              new long[] {-odd, -odd, 3, odd + 2}, Shaping.gather(x, 1, index).toLongArray());
          assertArrayEquals(
              new long[] {odd + 2, 3, -odd, odd}, Shaping.flip(x, 0, 1).toLongArray());
          assertArrayEquals(
              new long[] {-odd, odd, odd + 2, 3}, Shaping.roll(x, 1, 1).toLongArray());
          assertArrayEquals(
              new long[] {odd, -odd, 3, odd + 2, odd, -odd, 3, odd + 2},
              Shaping.concat(0, x, x).toLongArray());
          assertArrayEquals(
              new long[] {odd, odd + 2},
              Shaping.scatterAdd(
                      Tensor.of(new long[] {0, 2}, 2),
                      0,
                      Tensor.of(new long[] {1, 0}, 2),
                      Tensor.of(new long[] {odd, odd}, 2))
                  .toLongArray());
        });
  }

  @Test
  void embeddingNamesTheIndexThatIsOutOfRange() {
    Scope.run(
        () -> {
          Tensor table = Tensor.zeros(4, 3);
          Tensor indices = Tensor.of(new long[] {0, 3, 7, 1}, 2, 2);
          ShapeException e = assertThrows(ShapeException.class, () -> NN.embedding(indices, table));
          String message = String.valueOf(e.getMessage());
          assertTrue(message.contains("[0, 4)") && message.contains("element 2 is 7"), message);
          assertEquals(Shape.of(2, 0, 3), NN.embedding(indices.slice(1, 0, 0), table).shape());
        });
  }

  @Test
  void upsamplingKeepsChannelsLast() {
    Scope.run(
        () -> {
          double[] values = new double[2 * 3 * 2 * 2];
          Arrays.setAll(values, i -> i);
          Tensor x = Shaping.channelsLast(Tensor.of(values, DType.F32, Device.CPU, 2, 3, 2, 2));
          Tensor y = NN.upsampleNearest(x, 2);
          assertTrue(y.layout().isChannelsLast());
          expect(
              y.slice(0, 1, 2).slice(1, 2, 3).slice(2, 1, 3),
              shape(1, 1, 2, 4),
              20,
              20,
              21,
              21,
              22,
              22,
              23,
              23);
          assertTrue(NN.avgPool2d(y, 2, 2).layout().isChannelsLast());
          assertArrayEquals(x.toDoubleArray(), NN.avgPool2d(y, 2, 2).toDoubleArray());
        });
  }

  @Test
  void shuffledPixelsComeBack() {
    Scope.run(
        () -> {
          double[] values = new double[8 * 6];
          Arrays.setAll(values, i -> i);
          Tensor x = Tensor.of(values, DType.F64, Device.CPU, 1, 8, 2, 3);
          Tensor y = NN.pixelShuffle(x, 2);
          assertEquals(Shape.of(1, 2, 4, 6), y.shape());
          assertArrayEquals(values, NN.pixelUnshuffle(y, 2).toDoubleArray());
          assertThrows(ShapeException.class, () -> NN.pixelShuffle(x, 3));
        });
  }

  @Test
  void arangeCountsInAnyType() {
    Scope.run(
        () -> {
          TensorSpec spec = new TensorSpec(Shape.of(3), DType.BF16, Device.CPU);
          expect(Shaping.arange(spec, 2, -0.5), shape(3), 2, 1.5, 1);
        });
  }
}
