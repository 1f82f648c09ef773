// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.tensor.ops.cases.Input.normal;
import static io.sfumato.tensor.ops.cases.Input.uniform;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.sfumato.cuda.launch.CudaKernels;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.GatedResidualNormBackward;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.GroupNormBackward;
import io.sfumato.tensor.ops.LayerNorm;
import io.sfumato.tensor.ops.LayerNormBackward;
import io.sfumato.tensor.ops.LayerNormModulate;
import io.sfumato.tensor.ops.LayerNormModulateBackward;
import io.sfumato.tensor.ops.RmsNorm;
import io.sfumato.tensor.ops.RmsNormBackward;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.cases.Input;
import io.sfumato.tensor.ops.cases.OpCase;
import io.sfumato.tensor.testing.Relay;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Normalisations and their gradients at sizes that meet each way of sharing rows and slabs among
 * threads, with odd numbers of rows, in every order of threads. The values of many cases lie far
 * from 0, where sums of squares would cancel.
 */
class NormKernelsTest {
  private static final double EPS = 1e-5;

  /** Lengths for each number of lanes and vectors; 37 and 8340 suit no wide load. */
  static List<OpCase> rows() {
    List<OpCase> c = new ArrayList<>();
    layers(c, 24, 101);
    layers(c, 48, 70);
    layers(c, 104, 29);
    layers(c, 200, 53);
    layers(c, 328, 7);
    layers(c, 616, 13);
    layers(c, 1160, 27);
    layers(c, 776, 403);
    layers(c, 1400, 9);
    layers(c, 4360, 5);
    layers(c, 8328, 3);
    layers(c, 37, 41);
    layers(c, 1030, 19);
    modulated(c, 3, 11, 72);
    modulated(c, 7, 1, 120);
    modulated(c, 2, 35, 1152);
    modulated(c, 1, 5, 1544);
    modulated(c, 5, 33, 19);
    gated(c, 3, 11, 72);
    gated(c, 2, 35, 328);
    gated(c, 7, 1, 600);
    gated(c, 1, 27, 768);
    gated(c, 1, 7, 1152);
    gated(c, 2, 3, 2056);
    gated(c, 1, 5, 4104);
    gated(c, 1, 2, 8200);
    gated(c, 5, 33, 19);
    rms(c, 64, 75);
    rms(c, 768, 17);
    rms(c, 1240, 21);
    rms(c, 2056, 6);
    rms(c, 5, 50);
    return c;
  }

  private static void layers(List<OpCase> c, int n, int rows) {
    Input[] in = {uniform(98, 102, rows, n), normal(n), normal(n)};
    c.add(OpCase.of("rows of " + n, new LayerNorm(1, EPS, true, true), in));
    if (n % 16 == 8) {
      c.add(OpCase.of("bare rows of " + n, new LayerNorm(1, EPS, false, false), normal(rows, n)));
    }
  }

  private static void modulated(List<OpCase> c, int batch, int tokens, int n) {
    Input[] in = {normal(batch, tokens, n), normal(batch, n), normal(batch, n)};
    c.add(OpCase.of(batch + " x " + tokens + " x " + n, new LayerNormModulate(EPS), in));
  }

  private static void gated(List<OpCase> c, int batch, int tokens, int n) {
    Input[] in = {
      normal(batch, tokens, n),
      normal(batch, tokens, n),
      normal(batch, n),
      normal(batch, n),
      normal(batch, n)
    };
    c.add(OpCase.of(batch + " x " + tokens + " x " + n, new GatedResidualNorm(EPS), in));
  }

  private static void rms(List<OpCase> c, int n, int rows) {
    c.add(OpCase.of("rows of " + n, new RmsNorm(EPS, true), normal(rows, n), normal(n)));
  }

  /** Slabs in registers with each number of vectors, slabs in chunks, and sizes for neither. */
  static List<OpCase> slabs() {
    List<OpCase> c = new ArrayList<>();
    groups(c, 8, true, 2, 32, 5, 8);
    groups(c, 4, false, 3, 40, 6, 8);
    groups(c, 8, true, 1, 24, 4, 4);
    groups(c, 2, true, 3, 80, 3, 8);
    groups(c, 5, true, 2, 80, 13, 16);
    groups(c, 2, true, 1, 8, 32, 33);
    groups(c, 2, true, 2, 8, 60, 24);
    groups(c, 1, false, 1, 8, 72, 72);
    groups(c, 2, true, 1, 16, 96, 97);
    groups(c, 1, true, 2, 1040, 2, 4);
    groups(c, 5, true, 2, 35, 9, 7);
    groups(c, 4, true, 3, 48, 1, 1);
    return c;
  }

  private static void groups(List<OpCase> c, int groups, boolean silu, int... x) {
    Input[] in = {uniform(98, 102, x), normal(x[1]), normal(x[1])};
    GroupNorm op = new GroupNorm(groups, EPS, true, true, silu);
    c.add(OpCase.of(groups + " groups of " + Arrays.toString(x), op, in));
  }

  @ParameterizedTest
  @MethodSource("rows")
  void normalisesRows(OpCase c) throws Throwable {
    checkWithGradients(c, Relay.ROW_MAJOR);
  }

  @ParameterizedTest
  @MethodSource("slabs")
  void normalisesSlabsWithChannelsLast(OpCase c) throws Throwable {
    checkWithGradients(c, Relay.CHANNELS_LAST);
  }

  @ParameterizedTest
  @MethodSource("slabs")
  void normalisesSlabsWithChannelsFirst(OpCase c) throws Throwable {
    checkWithGradients(c, Relay.ROW_MAJOR);
  }

  /** Two samples of 16-bit values at a time, and then the fifth; one of f32. */
  @ParameterizedTest
  @EnumSource(names = {"CHANNELS_LAST", "ROW_MAJOR"})
  void samplesInTurnsAreNormalisedAsAllAtOnce(Relay relay) throws Throwable {
    List<OpCase> c = new ArrayList<>();
    groups(c, 1, true, 5, 128, 23, 24);
    String before = System.setProperty("sfumato.cuda.groupnorm.turn", "300");
    try {
      checkWithGradients(c.get(0), relay);
    } finally {
      if (before == null) {
        System.clearProperty("sfumato.cuda.groupnorm.turn");
      } else {
        System.setProperty("sfumato.cuda.groupnorm.turn", before);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void readsModulationOutOfAWiderProduct(DType dtype) {
    try (Scope scope = Scope.open()) {
      int n = 48;
      Tensor x = normal(3, 5, n).tensor(1, dtype);
      Tensor wide = normal(3, 6 * n).tensor(2, dtype);
      LayerNormModulate op = new LayerNormModulate(EPS);
      Tensor[] host = {
        x, Shaping.narrow(wide, 1, n, n), Shaping.narrow(wide, 1, 4 * n, n),
      };
      Tensor onDevice = CudaOpCasesTest.onDevice(wide);
      Tensor[] in = {
        CudaOpCasesTest.onDevice(x),
        Shaping.narrow(onDevice, 1, n, n),
        Shaping.narrow(onDevice, 1, 4 * n, n)
      };
      check(op, in, reference(op, host));
    }
  }

  @Test
  void aValueFarFromTheOthersDoesNotSpoilTheVariance() {
    int[] shape = {1, 16, 96, 97};
    double[] values = uniform(999, 1001, shape).make(3);
    for (int c = 0; c < 16; c++) {
      values[c * 96 * 97] = 0;
    }
    try (Scope scope = Scope.open()) {
      Tensor host = Tensor.of(values, DType.F32, Device.CPU, shape);
      GroupNorm op = new GroupNorm(2, EPS, false, false, false);
      Dense[] expected = reference(op, host);
      for (Relay relay : new Relay[] {Relay.CHANNELS_LAST, Relay.ROW_MAJOR}) {
        check(op, new Tensor[] {CudaOpCasesTest.onDevice(relay.of(host))}, expected);
      }
    }
  }

  // ---- helpers

  private static void checkWithGradients(OpCase c, Relay relay) throws Throwable {
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
      try (Scope scope = Scope.open()) {
        Tensor[] host = c.tensors(dtype);
        Dense[] out = reference(c.op(), host);
        Tensor[] in = onDevice(relay, host);
        EmulatorControl.inAllOrders(() -> check(c.op(), in, out));
        Tensor dy =
            new Input(Input.Kind.NORMAL, host[0].shape(), 0, 0, new double[0], null)
                .tensor(7, dtype);
        for (Op backward : backwards(c.op())) {
          Tensor[] given = given(backward, dy, host, out);
          Dense[] gradients = reference(backward, given);
          Tensor[] moved = onDevice(relay, given);
          EmulatorControl.inAllOrders(() -> check(backward, moved, gradients));
        }
      }
    }
  }

  private static List<Op> backwards(Op op) {
    return switch (op) {
      case LayerNorm f -> {
        int dims = f.dims();
        yield f.weight()
            ? List.of(
                new LayerNormBackward(dims, EPS, true, true, true),
                new LayerNormBackward(dims, EPS, true, false, true))
            : List.of(new LayerNormBackward(dims, EPS, false, false, false));
      }
      case LayerNormModulate f ->
          List.of(
              new LayerNormModulateBackward(EPS, true), new LayerNormModulateBackward(EPS, false));
      case GatedResidualNorm f ->
          List.of(
              new GatedResidualNormBackward(EPS, true), new GatedResidualNormBackward(EPS, false));
      case RmsNorm f -> List.of(new RmsNormBackward(EPS, true, true));
      case GroupNorm f ->
          List.of(new GroupNormBackward(f, true, true), new GroupNormBackward(f, false, false));
      default -> throw new IllegalArgumentException(op.name());
    };
  }

  /** Inputs of a backward: dy, x, the statistics in f32, and the vectors it reads. */
  private static Tensor[] given(Op backward, Tensor dy, Tensor[] in, Dense[] out) {
    if (backward instanceof GatedResidualNormBackward) {
      Tensor dh = Tensor.of(in[0].toDoubleArray(), dy.dtype(), Device.CPU, dy.shape().dims());
      Tensor h = Tensor.of(out[1].data(), dy.dtype(), Device.CPU, dy.shape().dims());
      return new Tensor[] {dy, dh, h, f32(out[2]), f32(out[3]), in[1], in[2], in[4]};
    }
    List<Tensor> given = new ArrayList<>(List.of(dy, in[0]));
    for (int i = 1; i < out.length; i++) {
      given.add(f32(out[i]));
    }
    int first = backward instanceof LayerNormModulateBackward ? 2 : 1;
    int last = backward instanceof GroupNormBackward ? 2 : first;
    for (int i = first; i <= last && i < in.length; i++) {
      given.add(in[i]);
    }
    return given.toArray(Tensor[]::new);
  }

  private static Tensor f32(Dense values) {
    return Tensor.of(values.data(), DType.F32, Device.CPU, values.shape().dims());
  }

  private static Tensor[] onDevice(Relay relay, Tensor[] host) {
    return Arrays.stream(host)
        .map(t -> CudaOpCasesTest.onDevice(relay.of(t)))
        .toArray(Tensor[]::new);
  }

  private static void check(Op op, Tensor[] in, Dense[] expected) {
    Tensor[] out = Eager.INSTANCE.execute(op, in);
    assertNotNull(CudaKernels.table().find(op, in, out), "a kernel takes it");
    for (int k = 0; k < out.length; k++) {
      double[] want = expected[k].data();
      double[] got = out[k].toDoubleArray();
      double most = Arrays.stream(want).map(Math::abs).max().orElseThrow();
      DType dtype = out[k].dtype();
      double rounding = dtype == DType.BF16 ? 0x1p-8 : dtype == DType.F16 ? 0x1p-11 : 0;
      assertEquals(want.length, got.length);
      for (int i = 0; i < got.length; i++) {
        double tolerance = 2e-5 * most + 1.01 * rounding * Math.abs(want[i]);
        int output = k;
        int element = i;
        assertEquals(
            want[i],
            got[i],
            tolerance,
            () -> op.name() + " of " + dtype + ", output " + output + ", element " + element);
      }
    }
  }

  private static Dense[] reference(Op op, Tensor... in) {
    Dense[] x =
        Arrays.stream(in)
            .map(t -> new Dense(t.shape(), t.dtype(), t.toDoubleArray()))
            .toArray(Dense[]::new);
    List<TensorSpec> specs = Arrays.stream(in).map(Tensor::spec).toList();
    Dense[] y =
        op.infer(specs).stream().map(s -> Dense.zeros(s.shape(), s.dtype())).toArray(Dense[]::new);
    op.reference(x, y);
    return y;
  }
}
