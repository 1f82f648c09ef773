// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.tensor.ops.cases.Input.normal;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.sfumato.cuda.launch.ConvPrecision;
import io.sfumato.cuda.launch.CudaKernels;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.Conv3d;
import io.sfumato.tensor.ops.Conv3dBackwardInput;
import io.sfumato.tensor.ops.Conv3dBackwardWeight;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.cases.OpCase;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Sizes at which each tile, each way of fetching, and split sums are met, with odd edges. cuDNN is
 * switched off meanwhile.
 */
class ConvKernelsTest {
  private static final String CUDNN = "sfumato.cuda.cudnn";
  private static final ConvOptions SAME = ConvOptions.of().padding(1);

  private static final boolean ALLOWED = ConvPrecision.tf32();
  private static final String USED = System.getProperty(CUDNN, "true");

  @BeforeAll
  static void keepAllDigits() {
    ConvPrecision.allowTf32(false);
    System.setProperty(CUDNN, "false");
  }

  @AfterAll
  static void asBefore() {
    ConvPrecision.allowTf32(ALLOWED);
    System.setProperty(CUDNN, USED);
  }

  static List<OpCase> cases() {
    List<OpCase> c = new ArrayList<>();
    images(c, "many rows and columns", SAME, shape(2, 16, 12, 13), shape(136, 16, 3, 3));
    images(c, "many rows", SAME, shape(2, 8, 17, 18), shape(64, 8, 3, 3));
    images(c, "few rows", SAME, shape(1, 24, 5, 7), shape(72, 24, 3, 3));
    images(c, "few columns", SAME, shape(2, 40, 9, 5), shape(8, 40, 3, 3));
    images(c, "long sum", SAME, shape(1, 136, 6, 5), shape(40, 136, 3, 3));
    images(c, "many pixels", SAME, shape(2, 8, 25, 23), shape(16, 8, 3, 3));
    images(c, "narrow", SAME, shape(2, 3, 9, 11), shape(70, 3, 3, 3));
    images(c, "narrow out", SAME, shape(1, 66, 7, 6), shape(3, 66, 3, 3));
    images(c, "pointwise", ConvOptions.of(), shape(2, 40, 9, 8), shape(72, 40, 1, 1));
    images(c, "stride", SAME.stride(2), shape(2, 16, 11, 12), shape(136, 16, 3, 3));
    images(
        c,
        "stride, dilation and uneven padding",
        ConvOptions.of().stride(2, 3).dilation(3, 2).padding(0, 2, 1, 1),
        shape(1, 16, 13, 12),
        shape(24, 16, 3, 3));
    images(c, "groups", SAME.groups(2), shape(1, 32, 6, 7), shape(48, 16, 3, 3));
    images(c, "groups of odd channels", SAME.groups(2), shape(1, 24, 5, 7), shape(36, 12, 3, 3));
    images(c, "depthwise", SAME.groups(20), shape(2, 20, 6, 7), shape(20, 1, 3, 3));
    images(
        c,
        "more taps than a word has bits",
        ConvOptions.of().padding(4),
        shape(1, 8, 10, 9),
        shape(8, 8, 9, 9));
    images(c, "patches", ConvOptions.of().stride(8), shape(2, 3, 16, 24), shape(40, 3, 8, 8));
    volumes(
        c,
        "volume",
        ConvOptions.of().stride(1, 2, 1).padding(1),
        shape(1, 8, 4, 5, 6),
        shape(24, 8, 3, 3, 3));
    return c;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void agreesWithTheReferenceInEachOrderOfThreads(OpCase c) throws Throwable {
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
      try (Scope scope = Scope.open()) {
        Tensor[] host = c.tensors(dtype);
        double[] expected = reference(c.op(), host);
        Tensor[] in = Arrays.stream(host).map(CudaOpCasesTest::onDevice).toArray(Tensor[]::new);
        double rounding = dtype == DType.BF16 ? 0x1p-8 : dtype == DType.F16 ? 0x1p-11 : 0;
        EmulatorControl.inAllOrders(() -> check(c.op(), in, 1e-5, 1.01 * rounding, expected));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void losesThreeDigitsWhereTf32IsAllowed(OpCase c) throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor[] host = c.tensors(DType.F32);
      double[] expected = reference(c.op(), host);
      Tensor[] in = Arrays.stream(host).map(CudaOpCasesTest::onDevice).toArray(Tensor[]::new);
      ConvPrecision.allowTf32(true);
      EmulatorControl.inAllOrders(() -> check(c.op(), in, 1e-3, 0, expected));
    } finally {
      ConvPrecision.allowTf32(false);
    }
  }

  @Test
  void weightsThatChangeArePackedAnew() {
    OpCase c = cases().getFirst();
    try (Scope scope = Scope.open()) {
      Tensor[] host = c.tensors(DType.F32);
      Tensor[] other = c.seed(7).tensors(DType.F32);
      Tensor[] in = Arrays.stream(host).map(CudaOpCasesTest::onDevice).toArray(Tensor[]::new);
      for (int i = 0; i < 3; i++) {
        check(c.op(), in, 1e-5, 0, reference(c.op(), host));
      }
      Storage weights = in[1].storage();
      Backends.of(in[1].device())
          .upload(other[1].storage().address(), weights.address(), weights.bytes());
      weights.changed();
      host[1] = other[1];
      for (int i = 0; i < 3; i++) {
        check(c.op(), in, 1e-5, 0, reference(c.op(), host));
      }
    }
  }

  private static void check(
      Op op, Tensor[] in, double ofLargest, double ofEach, double[] expected) {
    Tensor[] out = Eager.INSTANCE.execute(op, in);
    assertNotNull(CudaKernels.table().find(op, in, out), "a kernel takes it");
    double[] got = out[0].toDoubleArray();
    double most = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
    assertEquals(expected.length, got.length);
    for (int i = 0; i < got.length; i++) {
      double tolerance = ofLargest * most + ofEach * Math.abs(expected[i]);
      assertEquals(expected[i], got[i], tolerance, out[0].spec() + ", element " + i);
    }
  }

  private static double[] reference(Op op, Tensor[] in) {
    Dense[] x =
        Arrays.stream(in)
            .map(t -> new Dense(t.shape(), t.dtype(), t.toDoubleArray()))
            .toArray(Dense[]::new);
    TensorSpec s = op.infer(specs(in)).getFirst();
    Dense y = Dense.zeros(s.shape(), s.dtype());
    op.reference(x, new Dense[] {y});
    return y.data();
  }

  private static List<TensorSpec> specs(Tensor[] in) {
    return Arrays.stream(in).map(Tensor::spec).toList();
  }

  private static void images(
      List<OpCase> cases, String name, ConvOptions options, int[] x, int[] w) {
    ConvOptions o = options.resolved(2);
    Conv2d forward = new Conv2d(o, true);
    cases.add(OpCase.of(name, forward, normal(x), normal(w), normal(w[0])));
    int[] y = output(forward, x, w);
    cases.add(OpCase.of(name, new Conv2dBackwardInput(o, spatial(x)), normal(y), normal(w)));
    cases.add(OpCase.of(name, new Conv2dBackwardWeight(o, spatial(w)), normal(y), normal(x)));
  }

  private static void volumes(
      List<OpCase> cases, String name, ConvOptions options, int[] x, int[] w) {
    ConvOptions o = options.resolved(3);
    Conv3d forward = new Conv3d(o, true);
    cases.add(OpCase.of(name, forward, normal(x), normal(w), normal(w[0])));
    int[] y = output(forward, x, w);
    cases.add(OpCase.of(name, new Conv3dBackwardInput(o, spatial(x)), normal(y), normal(w)));
    cases.add(OpCase.of(name, new Conv3dBackwardWeight(o, spatial(w)), normal(y), normal(x)));
  }

  private static int[] output(Op forward, int[] x, int[] w) {
    List<TensorSpec> specs = List.of(spec(x), spec(w), spec(w[0]));
    return forward.infer(specs).getFirst().shape().dims();
  }

  private static TensorSpec spec(int... dims) {
    return new TensorSpec(Shape.of(dims), DType.F64, Device.CPU);
  }

  private static int[] shape(int... dims) {
    return dims;
  }

  private static List<Integer> spatial(int[] dims) {
    return Arrays.stream(dims).skip(2).boxed().toList();
  }
}
