// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.ConvPlan.Tile;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.ConvOptions;
import java.util.List;
import java.util.Random;
import java.util.function.BiConsumer;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Each tile of the products on tensor cores, whether or not it is the fastest for these sizes. */
class ConvTilesTest {
  private static final Device DEVICE = new Device("cuda", 0);

  /** Tiles agree with the smallest, which the references are compared with elsewhere. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16", "F16"})
  void allTilesAgree(DType dtype) throws Throwable {
    int images = 2;
    int in = 72;
    int out = 136;
    int rows = 9;
    int columns = 11;
    Gpu gpu = Gpu.of(0);
    try (Scope scope = Scope.open()) {
      Random random = new Random(1);
      Tensor x = tensor(random, dtype, images, in, rows, columns); // read as channels-last
      Tensor w = tensor(random, dtype, out, in, 3, 3);
      Tensor bias = tensor(random, dtype, out);
      Tensor dy = tensor(random, dtype, images, out, rows, columns);
      ConvOptions same = ConvOptions.of().padding(1).resolved(2);
      Convolution c = Convolution.of(same, x, w, dy);
      try (ConvWeights weights = new ConvWeights(gpu, c, w)) {
        List<Tile> gather =
            List.of(ConvPlan.T128X128, ConvPlan.EIGHT, ConvPlan.T128X64, ConvPlan.T64X64);
        List<Tile> weight =
            List.of(ConvPlan.T128X128, ConvPlan.EIGHT, ConvPlan.T64X128, ConvPlan.T64X64);
        compare(
            c, gather, dy, (k, y) -> k.forward(x.address(), weights, bias.address(), y.address()));
        compare(c, gather, x, (k, dx) -> k.backwardInput(dy.address(), weights, dx.address()));
        compare(c, weight, w, (k, dw) -> k.backwardWeight(dy.address(), x.address(), dw.address()));
      }
    }
  }

  private static void compare(
      Convolution c, List<Tile> tiles, Tensor like, BiConsumer<ConvKernels, Tensor> product)
      throws Throwable {
    double[] expected = run(c, tiles.getLast(), like, product);
    double most = DoubleStream.of(expected).map(Math::abs).max().orElseThrow();
    assertTrue(most > 1, "there are results");
    double ulp = like.dtype() == DType.BF16 ? 0x1p-7 : like.dtype() == DType.F16 ? 0x1p-10 : 0;
    for (Tile tile : tiles) {
      EmulatorControl.inAllOrders(
          () -> {
            double[] got = run(c, tile, like, product);
            for (int i = 0; i < got.length; i++) {
              double tolerance = 1e-5 * most + ulp * Math.abs(expected[i]);
              String where = tile.name() + ", " + like.spec() + ", element " + i;
              assertEquals(expected[i], got[i], tolerance, where);
            }
          });
    }
  }

  private static double[] run(
      Convolution c, Tile tile, Tensor like, BiConsumer<ConvKernels, Tensor> product) {
    Tensor to = tensor(new Random(2), like.dtype(), like.shape().dims());
    product.accept(new ConvKernels(Gpu.of(0), c, true, t -> t == tile), to);
    return to.toDoubleArray();
  }

  private static Tensor tensor(Random random, DType dtype, int... dims) {
    long n = 1;
    for (int d : dims) {
      n *= d;
    }
    double[] values = DoubleStream.generate(random::nextGaussian).limit(n).toArray();
    return Tensor.of(values, dtype, DEVICE, dims);
  }

  /** What the model says of sizes at which the answer is plain. */
  @Test
  void fewTilesAreSplitAndManyAreNot() {
    List<Tile> tiles = List.of(ConvPlan.T128X128, ConvPlan.T128X64, ConvPlan.T64X64);
    ConvPlan few = ConvPlan.best(tiles, new ConvPlan.Product(512, 128, 1, 36, false), 132);
    assertTrue(few.splits() > 1, few.toString());
    ConvPlan many = ConvPlan.best(tiles, new ConvPlan.Product(32768, 1280, 1, 360, false), 132);
    assertEquals(1, many.splits());
    assertEquals(ConvPlan.T128X128, many.tile());
    ConvPlan one = ConvPlan.best(tiles, new ConvPlan.Product(8, 8, 1, 1, true), 132);
    assertEquals(1, one.splits());
  }
}
