// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What the facade adds to the ops: vectors, lifted dimensions, layouts, running statistics. */
class LayerFacadeTest {
  private static Tensor normal(long seed, int... shape) {
    SplittableRandom random = new SplittableRandom(seed);
    double[] values = new double[Math.toIntExact(Shape.of(shape).numel())];
    java.util.Arrays.setAll(values, i -> random.nextGaussian());
    return Tensor.of(values, DType.F32, Device.CPU, shape);
  }

  private static void assertClose(Tensor want, Tensor got) {
    assertEquals(want.shape(), got.shape());
    assertArrayEquals(want.toDoubleArray(), got.toDoubleArray(), 1e-5);
  }

  private static void assertFails(String message, Executable body) {
    ShapeException e = assertThrows(ShapeException.class, body);
    assertTrue(String.valueOf(e.getMessage()).contains(message), e.getMessage());
  }

  @Test
  void matmulTakesVectors() {
    Scope.run(
        () -> {
          Tensor m = normal(1, 3, 4);
          Tensor v = normal(2, 4);
          assertEquals(Shape.of(3), m.matmul(v).shape());
          assertEquals(Shape.of(3), v.matmul(m.transpose(0, 1)).shape());
          assertEquals(Shape.SCALAR, v.matmul(v).shape());
          assertClose(m.matmul(v), v.matmul(m.transpose(0, 1)));
          assertEquals(Shape.of(2, 3), normal(3, 2, 3, 4).matmul(v).shape());
          assertEquals(Shape.of(2, 4), normal(4, 3).matmul(normal(5, 2, 3, 4)).shape());
          assertFails("at least one dimension", () -> Num.matmul(Tensor.scalar(1), v));
        });
  }

  @Test
  void batchByMatrixIsTheSameFoldedOrNot() {
    Scope.run(
        () -> {
          Tensor x = normal(1, 2, 3, 4);
          Tensor w = normal(2, 4, 5);
          Tensor strided = normal(1, 2, 3, 4).permute(1, 0, 2);
          assertClose(Num.matmul(x, w, false, false), x.matmul(w));
          assertClose(Num.matmul(strided, w, false, false), strided.matmul(w));
        });
  }

  @Test
  void conv1dIsConv2dOfHeightOne() {
    Scope.run(
        () -> {
          Tensor x = normal(1, 2, 4, 9);
          Tensor w = normal(2, 6, 2, 3);
          Tensor b = normal(3, 6);
          ConvOptions options = ConvOptions.of().stride(2).dilation(2).groups(2);
          ConvOptions both = options.stride(1, 2).dilation(1, 2);
          Tensor y =
              NN.conv1d(x, w, b, options.padding(java.util.List.of(4), java.util.List.of(0)));
          Tensor z = NN.conv2d(x.unsqueeze(2), w.unsqueeze(2), b, both.padding(0, 4, 0, 0));
          assertClose(z.squeeze(2), y);
          assertFails(
              "conv1d: input must have shape [N, in, L]",
              () -> NN.conv1d(x.unsqueeze(0), w, b, options));
        });
  }

  @Test
  void transposedConvolutionIsTheAdjoint() {
    Scope.run(
        () -> {
          ConvOptions options = ConvOptions.of().stride(2).padding(1).groups(2);
          Tensor x = normal(1, 1, 4, 6, 5);
          Tensor w = normal(2, 6, 2, 3, 3);
          Tensor y = NN.conv2d(x, w, null, options);
          Tensor g = normal(3, y.shape().dims());
          Tensor back = NN.convTranspose2d(g, w, null, options.outputPadding(1, 0));
          assertEquals(x.shape(), back.shape());
          assertEquals(Num.sum(y.mul(g)).item(), Num.sum(back.mul(x)).item(), 1e-4);
          Tensor bias = normal(4, 4);
          assertClose(
              back.add(bias.reshape(1, 4, 1, 1)),
              NN.convTranspose2d(g, w, bias, options.outputPadding(1, 0)));
          assertFails(
              "output padding must be smaller than the stride",
              () -> NN.convTranspose2d(g, w, null, options.outputPadding(2)));
          assertFails(
              "weight [in, out/groups, kh, kw] with equal in",
              () -> NN.convTranspose2d(x, w, null, options));
          assertFails(
              "bias must have shape [out] = [4]", () -> NN.convTranspose2d(g, w, g, options));
        });
  }

  @Test
  void convolutionsRefuseOutputPadding() {
    Scope.run(
        () -> {
          Tensor x = normal(1, 1, 1, 4, 4);
          Tensor w = normal(2, 1, 1, 3, 3);
          IllegalArgumentException e =
              assertThrows(
                  IllegalArgumentException.class,
                  () -> NN.conv2d(x, w, null, ConvOptions.of().outputPadding(1)));
          assertEquals(
              "conv2d: output padding is for transposed convolutions only; got [1, 1]",
              e.getMessage());
        });
  }

  @Test
  void convolutionsWriteChannelsLastAndNormsKeepIt() {
    Scope.run(
        () -> {
          Tensor x = normal(1, 2, 4, 5, 5);
          Tensor y = NN.conv2d(x, normal(2, 6, 4, 3, 3), null, ConvOptions.of().padding(1));
          assertTrue(y.layout().isChannelsLast());
          assertTrue(NN.groupNormSilu(y, 2, null, null, 1e-5).layout().isChannelsLast());
          assertTrue(NN.groupNorm(x, 2, null, null, 1e-5).layout().isContiguous());
          assertTrue(y.reshape(2, 6, 25).permute(0, 2, 1).layout().isContiguous());
        });
  }

  @Test
  void attentionLiesByTokens() {
    Scope.run(
        () -> {
          Tensor qkv = normal(1, 2, 7, 3 * 12);
          Tensor q = heads(qkv.slice(2, 0, 12));
          Tensor k = heads(qkv.slice(2, 12, 24));
          Tensor v = heads(qkv.slice(2, 24, 36));
          Tensor y = NN.attention(q, k, v, AttentionOptions.of());
          assertTrue(y.permute(0, 2, 1, 3).layout().isContiguous());
          Tensor p = NN.softmax(q.matmul(k.transpose(2, 3)).mul(0.5), -1);
          assertClose(p.matmul(v), y);
        });
  }

  @Test
  void oneKeyTakesItAll() {
    Scope.run(
        () -> {
          Tensor q = normal(1, 2, 3, 4, 5);
          Tensor k = normal(2, 2, 3, 1, 5);
          Tensor v = normal(3, 2, 3, 1, 5);
          Tensor g = normal(4, 2, 3, 4, 5);
          Attention op = new Attention(0.5, false, Attention.Mask.NONE);
          Tensor[] y = Executor.current().execute(op, q, k, v);
          assertClose(v.expand(2, 3, 4, 5), y[0]);
          Tensor[] d =
              Executor.current().execute(new AttentionBackward(op), q, k, v, y[0], y[1], g);
          assertClose(Tensor.zeros(2, 3, 4, 5), d[0]);
          assertClose(Tensor.zeros(2, 3, 1, 5), d[1]);
          assertClose(Num.sum(g, true, 2), d[2]);
        });
  }

  private static Tensor heads(Tensor x) {
    return x.reshape(2, 7, 3, 4).permute(0, 2, 1, 3);
  }

  @Test
  void batchNormFollowsTheStatistics() {
    Scope.run(
        () -> {
          Tensor x = normal(1, 3, 2, 4);
          Tensor mean = Tensor.of(new float[] {1, -1}, 2);
          Tensor var = Tensor.of(new float[] {2, 3}, 2);
          Tensor before = NN.batchNorm(x, mean, var, null, null, false, 0.25, 1e-5);
          assertClose(
              x.sub(mean.reshape(1, 2, 1)).mul(Num.rsqrt(var.add(1e-5)).reshape(1, 2, 1)), before);
          Tensor y = NN.batchNorm(x, mean, var, null, null, true, 0.25, 0);
          assertClose(Tensor.zeros(2), Num.mean(y, 0, 2));
          assertClose(Tensor.ones(2), Num.mean(y.mul(y), 0, 2));
          Tensor batch = Num.mean(x, 0, 2);
          Tensor d = x.sub(batch.reshape(1, 2, 1));
          Tensor unbiased = Num.sum(d.mul(d), 0, 2).div(11);
          assertClose(batch.mul(0.25).add(Tensor.of(new float[] {0.75f, -0.75f}, 2)), mean);
          assertClose(unbiased.mul(0.25).add(Tensor.of(new float[] {1.5f, 2.25f}, 2)), var);
        });
  }

  @Test
  void optionsCheckTheirNumbers() {
    assertThrows(IllegalArgumentException.class, () -> ConvOptions.of().stride(0));
    assertThrows(IllegalArgumentException.class, () -> ConvOptions.of().padding(-1));
    assertThrows(IllegalArgumentException.class, () -> ConvOptions.of().groups(0));
    assertThrows(IllegalArgumentException.class, () -> ConvOptions.of().stride(1, 2).resolved(3));
    assertEquals(ConvOptions.of().padding(1, 1), ConvOptions.of().padding(1, 1, 1, 1));
  }
}
