// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every operation of the facades gives PyTorch's values and gradients: in f64 to 1e-10 of the
 * largest value, in f32 to the tolerance of the case.
 */
class GoldenOpsTest {
  private static final double F64_TOLERANCE = 1e-10;

  @TempDir static Path folder;

  static List<GoldenCase> cases() {
    return GoldenCase.read("index.json", null);
  }

  static List<GoldenCase> secondOrder() {
    return GoldenCase.read("second_order.json", "second_order.safetensors");
  }

  @ParameterizedTest
  @MethodSource("cases")
  void valuesAndGradientsInF64(GoldenCase c) {
    check(c, DType.F64);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void valuesAndGradientsInF32(GoldenCase c) {
    check(c, DType.F32);
  }

  @ParameterizedTest
  @MethodSource("secondOrder")
  void gradientsOfGradientsInF64(GoldenCase c) {
    checkSecondOrder(c, DType.F64);
  }

  @ParameterizedTest
  @MethodSource("secondOrder")
  void gradientsOfGradientsInF32(GoldenCase c) {
    checkSecondOrder(c, DType.F32);
  }

  // ---- first order

  private static void check(GoldenCase c, DType floating) {
    try (SafeTensors file = c.open(folder);
        Scope scope = Scope.open()) {
      List<Tensor> expected = c.outputs(file);
      Tensor[] got = GoldenOps.call(c, c.inputs(file, floating));
      assertEquals(expected.size(), got.length, "number of outputs");
      for (int i = 0; i < got.length; i++) {
        compare(c, "output " + i, expected.get(i), got[i], floating);
      }
      Tensor cotangent = c.cotangent(file, floating);
      if (cotangent != null) {
        int[] variables = c.variables();
        Tensor[] in = c.inputs(file, floating);
        Autograd.Pullback result = Autograd.vjp(function(c, in), chosen(c, in), cotangent);
        for (int k = 0; k < variables.length; k++) {
          Tensor want = c.gradient(file, variables[k]);
          compare(c, "gradient " + variables[k], want, result.gradients().get(k), floating);
        }
      }
    }
  }

  // ---- second order

  private static void checkSecondOrder(GoldenCase c, DType floating) {
    try (SafeTensors file = c.open(folder);
        Scope scope = Scope.open()) {
      Tensor cotangent = c.cotangent(file, floating);
      assertTrue(cotangent != null, "a cotangent");
      Tensor[] in = c.inputs(file, floating);
      Function<Tensor[], Tensor> squares = squaredGradients(c, in, cotangent);
      Tensor[] x = chosen(c, in);
      compare(c, "sum of squares", c.outputs(file).getFirst(), squares.apply(x), floating);
      Tensor[] gradients = Autograd.grad(squares, x);
      for (int k = 0; k < x.length; k++) {
        Tensor want = c.gradient(file, c.variables()[k]);
        compare(c, "gradient " + c.variables()[k], want, gradients[k], floating);
      }
    }
  }

  private static Function<Tensor[], Tensor> squaredGradients(
      GoldenCase c, Tensor[] in, Tensor cotangent) {
    return xs ->
        Autograd.vjp(function(c, in), xs, cotangent).gradients().stream()
            .map(g -> Num.sum(g.square()))
            .reduce(Tensor::add)
            .orElseThrow();
  }

  // ---- helpers

  private static Tensor[] chosen(GoldenCase c, Tensor[] in) {
    return IntStream.of(c.variables()).mapToObj(i -> in[i]).toArray(Tensor[]::new);
  }

  /** The first output as a function of the inputs that have a gradient. */
  private static Function<Tensor[], Tensor> function(GoldenCase c, Tensor[] in) {
    int[] variables = c.variables();
    return xs -> {
      Tensor[] all = in.clone();
      for (int k = 0; k < xs.length; k++) {
        all[variables[k]] = xs[k];
      }
      return GoldenOps.call(c, all)[0];
    };
  }

  private static void compare(
      GoldenCase c, String what, Tensor expected, Tensor got, DType floating) {
    assertEquals(expected.shape(), got.shape(), c + ", shape of " + what);
    DType dtype = expected.dtype() == DType.F64 ? floating : expected.dtype();
    boolean castToF64 = c.op().equals("cast") && expected.dtype() == DType.F64;
    assertEquals(castToF64 ? DType.F64 : dtype, got.dtype(), c + ", type of " + what);
    double[] want = expected.toDoubleArray();
    double[] have = got.toDoubleArray();
    double largest = Arrays.stream(want).map(Math::abs).filter(Double::isFinite).max().orElse(0);
    boolean exact = expected.dtype() != DType.F64;
    for (int i = 0; i < want.length; i++) {
      double tolerance =
          floating == DType.F64
              ? F64_TOLERANCE * largest + Double.MIN_NORMAL
              : c.atol() + c.rtol() * Math.abs(want[i]);
      boolean same = want[i] == have[i];
      if (!same && (exact || !(Math.abs(want[i] - have[i]) <= tolerance))) {
        fail(
            "%s in %s, %s, element %d: expected %s ± %.3g, got %s"
                .formatted(c, floating, what, i, want[i], exact ? 0 : tolerance, have[i]));
      }
    }
  }
}
