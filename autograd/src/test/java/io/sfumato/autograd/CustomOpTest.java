// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.check.GradCheck;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.ops.Num;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * How to write an op of one's own: one record, in one file, without touching the library.
 *
 * <p>The example is the snake activation, {@code y = x + sin²(a x) / a} (Ziyin, Hartwig and Ueda
 * 2020, "Neural networks fail to learn periodic functions and how to fix it"), with a trainable
 * frequency {@code a} per channel. What an op needs:
 *
 * <ol>
 *   <li>{@code name}: how messages and traces call it;
 *   <li>{@code infer}: the shape rule, which throws with the requirement alone (the executor adds
 *       the op, the inputs and the module path);
 *   <li>{@code reference}: the definition in plain loops over f64. It runs on every device that has
 *       no kernel, and kernels are tested against it;
 *   <li>{@code saved}: which inputs and outputs backward will ask for, so that nothing else is
 *       kept;
 *   <li>{@code backward}: the gradients by calls of other ops, so that they can be differentiated
 *       again. Gradients nobody wants are not computed.
 * </ol>
 *
 * Run it by {@code Executor.run(new Snake(), x, a)}, and check it by {@link GradCheck}.
 */
class CustomOpTest {
  // @start region="op"
  /** {@code y = x + sin²(a x) / a}; x is [N, C], a is [C]. */
  record Snake() implements Differentiable {
    @Override
    public String name() {
      return "snake";
    }

    @Override
    public List<TensorSpec> infer(List<TensorSpec> in) {
      TensorSpec x = in.get(0);
      TensorSpec a = in.get(1);
      if (x.shape().rank() != 2 || a.shape().rank() != 1 || x.shape().dim(1) != a.shape().dim(0)) {
        throw new ShapeException("x must be [N, C] and a [C]");
      }
      if (!x.dtype().isFloating() || x.dtype() != a.dtype()) {
        throw new DTypeException("x and a must have one floating type");
      }
      return List.of(x);
    }

    @Override
    public void reference(Dense[] in, Dense[] out) {
      double[] x = in[0].data();
      double[] a = in[1].data();
      double[] y = out[0].data();
      for (int i = 0; i < y.length; i++) {
        double f = a[i % a.length];
        double s = Math.sin(f * x[i]);
        y[i] = x[i] + s * s / f;
      }
    }

    @Override
    public Saved saved(boolean[] needs) {
      return Saved.inputs(0, 1);
    }

    @Override
    public @Nullable Tensor[] backward(Backward c) {
      Tensor g = c.grad(0); // [N, C]
      Tensor x = c.input(0); // [N, C]
      Tensor a = c.input(1); // [C]
      Tensor doubled = Num.sin(a.mul(x).mul(2)); // 2 sin(ax) cos(ax)
      Tensor dx = null;
      Tensor da = null;
      if (c.needs(0)) {
        dx = g.mul(doubled.add(1));
      }
      if (c.needs(1)) {
        Tensor square = Num.square(Num.sin(a.mul(x)));
        Tensor slope = doubled.mul(x).div(a).sub(square.div(a.mul(a))); // [N, C]
        da = Num.sumTo(g.mul(slope), a.shape());
      }
      return new @Nullable Tensor[] {dx, da};
    }
  }

  // @end

  private static final double[] X = {0.3, -1.2, 2.0, 0.7, 0.1, -0.4};
  private static final double[] A = {1.0, 0.5, 2.0};

  @Test
  void itComputes() {
    try (Scope scope = Scope.open()) {
      Tensor y = Executor.run(new Snake(), Tensor.of(X, 2, 3), Tensor.of(A, 3));
      double[] expected = new double[6];
      for (int i = 0; i < 6; i++) {
        expected[i] = X[i] + Math.pow(Math.sin(A[i % 3] * X[i]), 2) / A[i % 3];
      }
      assertArrayEquals(expected, y.toDoubleArray(), 1e-15);
    }
  }

  @Test
  void itsGradientsAreRight() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.of(X, 2, 3); // f64
      Tensor a = Tensor.of(A, 3);
      // @start region="check"
      Tensor y = Executor.run(new Snake(), x, a);
      var check = GradCheck.of(in -> new Tensor[] {Executor.run(new Snake(), in)}); // f64 inputs
      check.check(x, a).orThrow();
      // @end
      assertEquals(x.shape(), y.shape());
      check.tolerance(1e-6).checkSecondOrder(x, a).orThrow();
    }
  }

  @Test
  void itsErrorsSayWhatCame() {
    try (Scope scope = Scope.open()) {
      ShapeException e =
          assertThrows(
              ShapeException.class,
              () -> Executor.run(new Snake(), Tensor.ones(2, 3), Tensor.ones(4)));
      String text = String.valueOf(e.getMessage());
      assertTrue(
          text.startsWith("snake: x must be [N, C] and a [C]; got [2, 3] f32 cpu, [4] f32"), text);
    }
  }
}
