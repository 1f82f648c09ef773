// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.Convolutions.From;
import io.sfumato.cuda.library.Cudnn;
import io.sfumato.cuda.library.CudnnConvolution.Kind;
import io.sfumato.cuda.library.MissingLibraryException;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.Shaping;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whatever way of cuDNN's is chosen agrees with the kernels of this library. */
class ConvolutionsTest {
  private static final Device DEVICE = new Device("cuda", 0);

  private static final Logger LOG = System.getLogger(ConvolutionsTest.class.getName());

  private static @Nullable Cudnn cudnn;
  private static String reason = "";

  /**
   * One convolution.
   *
   * @param dtype the element type
   * @param tf32 whether f32 may be rounded
   * @param o how it walks
   * @param x the shape of x
   * @param w the shape of w
   */
  record Case(DType dtype, boolean tf32, ConvOptions o, Shape x, Shape w) {}

  @BeforeAll
  static void find() {
    try {
      cudnn = Convolutions.open(Gpu.of(0));
    } catch (MissingLibraryException e) {
      reason = e.getMessage();
    }
  }

  static Stream<Case> cases() {
    ConvOptions same = ConvOptions.of().padding(1).resolved(2);
    return Stream.of(
            new Case(DType.F32, false, same, Shape.of(2, 64, 16, 16), Shape.of(96, 64, 3, 3)),
            new Case(DType.F32, false, same, Shape.of(1, 3, 33, 31), Shape.of(64, 3, 3, 3)),
            new Case(DType.F32, false, same, Shape.of(2, 40, 9, 9), Shape.of(24, 40, 1, 1)),
            new Case(
                DType.F32,
                false,
                same.stride(2, 2),
                Shape.of(2, 32, 17, 18),
                Shape.of(8, 32, 3, 3)),
            new Case(
                DType.F32,
                false,
                same.groups(4).dilation(2, 1),
                Shape.of(2, 32, 17, 18),
                Shape.of(64, 8, 3, 3)),
            new Case(DType.F32, true, same, Shape.of(4, 128, 32, 32), Shape.of(128, 128, 3, 3)))
        .flatMap(
            c ->
                c.tf32()
                    ? Stream.of(c)
                    : Stream.of(DType.F32, DType.BF16, DType.F16)
                        .map(t -> new Case(t, false, c.o(), c.x(), c.w())));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void bothWaysAgree(Case k) {
    assumeTrue(cudnn != null, reason);
    try (Scope scope = Scope.open()) {
      TensorSpec spec = new TensorSpec(k.x(), k.dtype(), DEVICE);
      List<TensorSpec> specs = List.of(spec, spec.with(k.w()));
      Shape shape = new Conv2d(k.o(), false).infer(specs).getFirst().shape();
      Random random = new Random(1);
      Tensor x = tensor(random, k.dtype(), Layout.channelsLast(k.x()));
      Tensor w = tensor(random, k.dtype(), Layout.contiguous(k.w()));
      Tensor b = tensor(random, k.dtype(), Layout.contiguous(Shape.of(k.w().dim(0))));
      Tensor dy = tensor(random, k.dtype(), Layout.channelsLast(shape));
      Convolution c = Convolution.of(k.o(), x, w, dy);
      // both round what they store by half a unit, one also the sum before the bias
      double half = k.dtype() == DType.BF16 ? 0x1p-8 : k.dtype() == DType.F16 ? 0x1p-11 : 0;
      double sums = k.tf32() ? 2e-3 : 2e-5;
      double tolerance = 2 * half + sums;
      try (ConvWeights weights = new ConvWeights(Gpu.of(0), c, w)) {
        From plain = new From(x.address(), weights, 0, 0);
        compareAll(k, Kind.FORWARD, c, plain, dy, tolerance);
        From biased = new From(x.address(), weights, 0, b.address());
        compareAll(k, Kind.FORWARD, c, biased, dy, 3 * half + sums);
        From back = new From(dy.address(), weights, 0, 0);
        compareAll(k, Kind.INPUT, c, back, x, tolerance);
        From both = new From(dy.address(), null, x.address(), 0);
        compareAll(k, Kind.WEIGHT, c, both, w, tolerance);
      }
    }
  }

  /** Computes {@code like} by all ways and compares each with the kernels, in exact f32. */
  private static void compareAll(
      Case k, Kind kind, Convolution c, From from, Tensor like, double tolerance) {
    Gpu gpu = Gpu.of(0);
    Tensor expected = tensor(new Random(2), k.dtype(), like.layout());
    Convolutions.of(gpu, null)
        .candidates(kind, c, from.bias() != 0, false)
        .get("own kernels")
        .run(from, expected.address());
    double[] right = expected.toDoubleArray();
    double most = Arrays.stream(right).map(Math::abs).max().orElseThrow();
    Tensor got = tensor(new Random(3), k.dtype(), like.layout());
    Map<String, Convolutions.Way> ways =
        Convolutions.of(gpu, cudnn).candidates(kind, c, from.bias() != 0, k.tf32());
    // strict f32, few channels, groups and distances may be refused, and the kernels serve
    boolean plain = k.dtype() != DType.F32 && k.x().dim(1) % 8 == 0 && k.o().groups() == 1;
    assertTrue(ways.size() > 1 || !plain, "cuDNN takes it");
    ways.forEach(
        (name, way) -> {
          gpu.zero(got.address(), got.spec().bytes());
          try (way) {
            way.run(from, got.address());
          } catch (DeviceException e) {
            assertTrue(!name.startsWith("own kernels"), name + ": " + e.getMessage());
            LOG.log(Level.INFO, "{0} of {1} by {2}: {3}", kind, k, name, e.getMessage());
            return;
          }
          double[] values = got.toDoubleArray();
          for (int i = 0; i < right.length; i++) {
            String where = k + ", " + kind + " by " + name + ", element " + i;
            assertEquals(right[i], values[i], tolerance * most, where);
          }
        });
  }

  /** Random numbers on the device. */
  private static Tensor tensor(Random random, DType dtype, Layout layout) {
    double[] values =
        DoubleStream.generate(random::nextGaussian).limit(layout.shape().numel()).toArray();
    Tensor t = Tensor.of(values, dtype, DEVICE, layout.shape().dims());
    return layout.isContiguous() ? t : Shaping.channelsLast(t);
  }
}
