// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.cases.OpCase;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Ops that compute the elements of a batch by themselves: in f64 by the definition, and in bf16.
 */
class BatchwiseOpTest {
  static Stream<OpCase> cases() {
    return OpCasesTest.cases().stream()
        .filter(c -> c.op() instanceof BatchwiseOp && c.dtypes().contains(DType.F64));
  }

  /** Batch elements computed one by one are those of the whole, and sums add up. */
  @ParameterizedTest
  @MethodSource("cases")
  void piecesMakeTheWhole(OpCase c) {
    BatchwiseOp op = (BatchwiseOp) c.op();
    Scope.run(
        () -> {
          Tensor[] in = c.tensors(DType.F64);
          if (!op.isBatchwise(in[0].shape())) {
            return;
          }
          int batch = in[0].dim(0);
          Tensor[] whole = Eager.INSTANCE.execute(op, in);
          double[][] sums = new double[whole.length][];
          for (int b = 0; b < batch; b++) {
            Tensor[] some = in.clone();
            for (int i = 0; i < in.length; i++) {
              if (!op.isShared(i)) {
                some[i] = in[i].slice(0, b, b + 1).contiguous();
              }
            }
            Tensor[] part = Eager.INSTANCE.execute(op, some);
            for (int i = 0; i < whole.length; i++) {
              double[] got = part[i].toDoubleArray();
              if (!op.isSummed(i)) {
                double[] expected = whole[i].slice(0, b, b + 1).toDoubleArray();
                assertArrayEquals(expected, got, 1e-9, c + ", output " + i);
                continue;
              }
              sums[i] = sums[i] == null ? new double[got.length] : sums[i];
              for (int e = 0; e < got.length; e++) {
                sums[i][e] += got[e];
              }
            }
          }
          for (int i = 0; i < whole.length; i++) {
            if (sums[i] != null) {
              assertArrayEquals(whole[i].toDoubleArray(), sums[i], 1e-9, c + ", output " + i);
            }
          }
        });
  }

  /** An op with the shapes of its inputs, large enough to be cut. */
  private record Large(Op op, Shape... shapes) {
    @Override
    public String toString() {
      return op.toString();
    }
  }

  static List<Large> large() {
    Shape x = Shape.of(5, 300, 96);
    Shape row = Shape.of(5, 96);
    Shape stats = Shape.of(5, 300);
    Shape channels = Shape.of(96);
    Shape image = Shape.of(5, 96, 20, 15);
    Shape groups = Shape.of(5, 8);
    GroupNorm norm = new GroupNorm(8, 1e-5, true, true, true);
    return List.of(
        new Large(new LayerNorm(1, 1e-5, true, true), x, channels, channels),
        new Large(new LayerNormBackward(1, 1e-5, true, true, true), x, x, stats, stats, channels),
        new Large(new LayerNormModulate(1e-5), x, row, row),
        new Large(new LayerNormModulateBackward(1e-5, true), x, x, stats, stats, row),
        new Large(new RmsNorm(1e-5, true), x, channels),
        new Large(new RmsNormBackward(1e-5, true, true), x, x, stats, channels),
        new Large(new GatedResidual(), x, x, row),
        new Large(new GatedResidualBackward(), x, row, x),
        new Large(new GatedResidualNorm(1e-5), x, x, row, row, row),
        new Large(new GatedResidualNormBackward(1e-5, true), x, x, x, stats, stats, x, row, row),
        new Large(norm, image, channels, channels),
        new Large(
            new GroupNormBackward(norm, true, true),
            image,
            image,
            groups,
            groups,
            channels,
            channels),
        new Large(new Softmax(2), x),
        new Large(new Softmax(0), x),
        new Large(new SoftmaxBackward(1), x, x),
        new Large(new LogSoftmax(2), x),
        new Large(new LogSoftmaxBackward(2), x, x),
        new Large(new SumTo(channels), x),
        new Large(new SumTo(Shape.of(1, 300, 1)), x),
        new Large(new Unary(Unary.Kind.GELU), x),
        new Large(new UnaryBackward(UnaryBackward.Kind.SILU), x, x),
        new Large(new Binary(Binary.Kind.MUL), x, channels),
        new Large(new Binary(Binary.Kind.ADD), x, x));
  }

  /** What is widened piece by piece is what the f32 kernel computes, rounded. */
  @ParameterizedTest
  @MethodSource("large")
  void halvesAreRoundedFloats(Large c) {
    for (DType type : new DType[] {DType.BF16, DType.F16}) {
      Scope.run(
          () -> {
            List<Tensor> half = new ArrayList<>();
            List<Tensor> wide = new ArrayList<>();
            Random random = new Random(5);
            for (Shape shape : c.shapes) {
              float[] values = new float[Math.toIntExact(shape.numel())];
              for (int i = 0; i < values.length; i++) {
                values[i] = (float) (random.nextGaussian() * 0.5);
              }
              Tensor x = Tensor.of(values, shape.dims()).to(type);
              half.add(x);
              wide.add(x.to(DType.F32));
            }
            Tensor[] got = Eager.INSTANCE.execute(c.op, half.toArray(Tensor[]::new));
            Tensor[] expected = Eager.INSTANCE.execute(c.op, wide.toArray(Tensor[]::new));
            for (int i = 0; i < got.length; i++) {
              compare(c, i, got[i], expected[i]);
            }
          });
    }
  }

  private static void compare(Large c, int output, Tensor got, Tensor expected) {
    double[] g = got.toDoubleArray();
    double[] exact = expected.toDoubleArray();
    double[] rounded = expected.to(got.dtype()).toDoubleArray();
    boolean summed = c.op instanceof BatchwiseOp b && b.isSummed(output);
    double most = 0;
    for (double x : exact) {
      most = Math.max(most, Math.abs(x));
    }
    for (int e = 0; e < g.length; e++) {
      // sums over pieces are f32 sums in another order; so are those of a batch of another size
      double limit = summed ? 1e-5 * most + Math.abs(exact[e]) * 0x1p-8 : 1e-6 * most;
      double step = Math.abs(rounded[e]) * (got.dtype() == DType.BF16 ? 0x1p-7 : 0x1p-10);
      double error = Math.abs(g[e] - exact[e]);
      if (g[e] != rounded[e] && error > limit + step / 2 * 1.01) {
        assertEquals(rounded[e], g[e], c + ", output " + output + ", element " + e);
      }
    }
  }
}
