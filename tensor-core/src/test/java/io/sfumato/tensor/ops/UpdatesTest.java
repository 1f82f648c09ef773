// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Three steps of each optimiser; the numbers are those of PyTorch 2.13.0 in f64. */
class UpdatesTest {
  private Scope scope;

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  /** One optimiser step. */
  private interface Step {
    void run(List<Tensor> p, List<Tensor> grads, List<Tensor> m, List<Tensor> v, int t);
  }

  private static Tensor vector(DType dtype, double... values) {
    return Tensor.of(values, dtype, Device.CPU, values.length);
  }

  private static void check(DType dtype, Step step, double... want) {
    Tensor p = vector(dtype, 1, -2, 0.5);
    Tensor m = vector(dtype, 0, 0, 0);
    Tensor v = vector(dtype, 0, 0, 0);
    for (int t = 1; t <= 3; t++) { // gradients are given doubled, and halved by the scale
      Tensor g = vector(dtype, 0.2 * t, -0.6, 2 * (0.7 - (t - 1)));
      long version = p.storage().version();
      step.run(List.of(p), List.of(g), List.of(m), List.of(v), t);
      assertEquals(version + 1, p.storage().version(), "a write is a new version");
    }
    assertArrayEquals(want, p.toDoubleArray(), dtype == DType.F64 ? 1e-12 : 1e-6);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void adamW(DType dtype) {
    check(
        dtype,
        (p, g, m, v, t) ->
            Updates.adamW(p, g, m, v, new Updates.Adam(0.1, 0.9, 0.99, 1e-6, 0.05, true, t, 0.5)),
        0.6946154573897125,
        -1.6716482450050163,
        0.40382337924536393);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void adam(DType dtype) {
    check(
        dtype,
        (p, g, m, v, t) ->
            Updates.adamW(p, g, m, v, new Updates.Adam(0.1, 0.9, 0.99, 1e-6, 0.05, false, t, 0.5)),
        0.7039603238860804,
        -1.7001182688717427,
        0.40451590831315376);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void sgd(DType dtype) {
    check(
        dtype,
        (p, g, m, v, t) -> Updates.sgd(p, g, 0.1, 0.05, 0.5),
        0.925274625,
        -1.880599,
        0.5830856875);
    check(
        dtype,
        (p, g, m, v, t) -> Updates.sgdMomentum(p, g, m, 0.1, 0.9, false, 0.05, 0.5),
        0.877259625,
        -1.7765589999999998,
        0.4845131875);
    check(
        dtype,
        (p, g, m, v, t) -> Updates.sgdMomentum(p, g, m, 0.1, 0.9, true, 0.05, 0.5),
        0.815386027875,
        -1.680814741,
        0.5706717180625);
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void averagesSumsAndCopies(DType dtype) {
    Tensor a = vector(dtype, 1, 2);
    Updates.ema(List.of(a), List.of(vector(dtype, 3, 0)), 0.75);
    assertArrayEquals(new double[] {1.5, 1.5}, a.toDoubleArray());
    Updates.add(a, vector(dtype, 1, -1), 2);
    assertArrayEquals(new double[] {3.5, -0.5}, a.toDoubleArray());
    Tensor half = vector(DType.BF16, 0, 0);
    Updates.copy(half, a);
    assertArrayEquals(new double[] {3.5, -0.5}, half.toDoubleArray());
    Tensor norm = Updates.squaredNorm(List.of(a, vector(dtype, 1, 2)));
    assertEquals(3.5 * 3.5 + 0.25 + 5, norm.item());
    Updates.ema(List.of(), List.of(), 0.5); // nothing to do
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32"})
  void lion(DType dtype) {
    Tensor p = vector(dtype, 1, -1);
    Tensor m = vector(dtype, 0.5, 0.5);
    Updates.lion(List.of(p), List.of(vector(dtype, -8, 1)), List.of(m), 0.1, 0.9, 0.5, 0.5, 0.5);
    // m before: 0.45 - 0.4 > 0, 0.45 + 0.05 > 0; decay 0.95
    assertArrayEquals(new double[] {0.85, -1.05}, p.toDoubleArray(), 1e-6);
    assertArrayEquals(new double[] {-1.75, 0.5}, m.toDoubleArray(), 1e-6);
  }
}
