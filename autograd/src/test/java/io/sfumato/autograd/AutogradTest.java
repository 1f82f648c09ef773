// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.GradientFree;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Regions, what they record, and who owns what. */
class AutogradTest {
  private Scope scope;
  private final List<Parameter> opened = new ArrayList<>();

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    opened.forEach(Parameter::close);
    scope.close();
  }

  private Parameter parameter(String name, double... values) {
    Parameter p = new Parameter(name, Tensor.of(values, values.length));
    opened.add(p);
    return p;
  }

  private static Tensor sum(Tensor x) {
    return Num.sumTo(x, Shape.SCALAR);
  }

  private static double[] values(Tensor t) {
    assertNotNull(t);
    return t.toDoubleArray();
  }

  @Test
  void gradientOfASumOfProducts() {
    Parameter a = parameter("a", 1, 2, 3);
    Parameter b = parameter("b", 4, 5, 6);
    Autograd.Result r =
        Autograd.valueAndGrad(List.of(a, b), () -> sum(a.value().mul(b.value()).add(a.value())));
    assertEquals(4 + 10 + 18 + 6, r.value().item());
    assertArrayEquals(new double[] {5, 6, 7}, values(r.gradients().get(a)));
    assertArrayEquals(new double[] {1, 2, 3}, values(r.gradients().get(b)));
    assertEquals(List.of(), r.gradients().unused());
  }

  @Test
  void oneTensorUsedManyTimesGathersItsGradient() {
    Tensor x = Tensor.of(new double[] {2, -3}, 2);
    Tensor g = Autograd.grad(v -> sum(v.mul(v).mul(v).add(v)), x);
    assertArrayEquals(new double[] {13, 28}, values(g));
  }

  @Test
  void unusedParametersAreAbsent() {
    Parameter a = parameter("a", 1, 2);
    Parameter b = parameter("b", 3);
    Gradients g = Autograd.valueAndGrad(List.of(a, b), () -> sum(a.value())).gradients();
    assertNull(g.get(b));
    assertEquals(List.of(b), g.unused());
    assertEquals(List.of(a), List.copyOf(g.asMap().keySet()));
  }

  @Test
  void extraResultsOutliveTheRegion() {
    Parameter a = parameter("a", 1, 2);
    Autograd.Result r =
        Autograd.valueAndGradWithExtra(
            List.of(a),
            () -> {
              Tensor y = a.value().mul(3);
              return new Tensor[] {sum(y), y};
            });
    assertArrayEquals(new double[] {3, 6}, values(r.extra().getFirst()));
  }

  @Test
  void temporariesOfARegionAreFreedWithIt() {
    Parameter a = parameter("a", 1, 2, 3);
    long before = CpuBackend.instance().memory().buffers();
    Autograd.Result r =
        Autograd.valueAndGrad(
            List.of(a), () -> sum(Scope.run(() -> a.value().mul(a.value())).mul(a.value())));
    // value and gradient, the seed of backward, nothing else
    long left = CpuBackend.instance().memory().buffers() - before;
    assertTrue(left <= 3, left + " buffers");
    assertArrayEquals(new double[] {3, 12, 27}, values(r.gradients().get(a)));
  }

  @Test
  void valueAndGradientsBelongToTheScopeOfTheCall() {
    Parameter a = parameter("a", 2);
    Autograd.Result r;
    try (Scope inner = Scope.open()) {
      r = Autograd.valueAndGrad(List.of(a), () -> sum(a.value().mul(a.value())));
      assertEquals(4, r.value().item());
    }
    assertFalse(r.value().storage().isLive());
    assertFalse(r.gradients().asMap().get(a).storage().isLive());
  }

  @Test
  void everythingIsReleasedAfterAnException() {
    Parameter a = parameter("a", 1, 2);
    long before = CpuBackend.instance().memory().buffers();
    Scope.run(
        () -> {
          assertThrows(
              ArithmeticException.class,
              () ->
                  Autograd.valueAndGrad(
                      List.of(a),
                      () -> {
                        Tensor y = a.value().mul(a.value()).mul(a.value());
                        throw new ArithmeticException(y.toString());
                      }));
          assertFalse(Autograd.isRecording());
        });
    assertEquals(before, CpuBackend.instance().memory().buffers());
  }

  @Test
  void everythingIsReleasedWhenBackwardThrows() {
    Parameter a = parameter("a", 1, 2);
    long before = CpuBackend.instance().memory().buffers();
    Scope.run(
        () -> {
          Tensor factor = Tensor.of(new double[] {3, 4}, 2);
          IllegalStateException e =
              assertThrows(
                  IllegalStateException.class,
                  () ->
                      Autograd.valueAndGrad(
                          List.of(a),
                          () -> {
                            ModulePath.push("mid.attn");
                            Tensor y = a.value().mul(factor);
                            ModulePath.pop();
                            Executor.current().execute(new Overwrite(), factor);
                            return sum(y.mul(a.value()));
                          }));
          String text = String.valueOf(e.getMessage());
          assertTrue(text.contains("mul: input 1"), text);
          assertTrue(text.contains("overwritten in place"), text);
          assertTrue(text.contains("at mid.attn"), text);
        });
    assertEquals(before, CpuBackend.instance().memory().buffers());
  }

  @Test
  void overwritingWhatBackwardDoesNotNeedIsFine() {
    Parameter a = parameter("a", 1, 2);
    Tensor b = Tensor.of(new double[] {3, 4}, 2);
    Gradients g =
        Autograd.valueAndGrad(
                List.of(a),
                () -> {
                  Tensor y = a.value().add(b);
                  Executor.current().execute(new Overwrite(), b);
                  return sum(y);
                })
            .gradients();
    assertArrayEquals(new double[] {1, 1}, values(g.get(a)));
  }

  @Test
  void theLossMustBeOneFloatingElement() {
    Parameter a = parameter("a", 1, 2);
    ShapeException shape =
        assertThrows(
            ShapeException.class, () -> Autograd.valueAndGrad(List.of(a), () -> a.value().mul(2)));
    assertTrue(String.valueOf(shape.getMessage()).contains("[2] f64 cpu"));
    assertThrows(
        DTypeException.class,
        () -> Autograd.valueAndGrad(List.of(a), () -> Tensor.of(new long[] {1})));
  }

  @Test
  void aLossThatDependsOnNothingIsAnError() {
    Parameter a = parameter("conv_in.weight", 1, 2);
    NotDifferentiableException e =
        assertThrows(
            NotDifferentiableException.class,
            () -> Autograd.valueAndGrad(List.of(a), () -> Tensor.scalar(1)));
    assertTrue(String.valueOf(e.getMessage()).contains("conv_in.weight"));
    assertThrows(
        IllegalArgumentException.class,
        () -> Autograd.valueAndGrad(List.of(), () -> Tensor.scalar(1)));
  }

  @Test
  void anOpWithoutBackwardThrowsAtTheCall() {
    Parameter a = parameter("a", 1, 2);
    ModulePath.push("encoder");
    try {
      NotDifferentiableException e =
          assertThrows(
              NotDifferentiableException.class,
              () ->
                  Autograd.valueAndGrad(
                      List.of(a), () -> sum(Executor.run(new Opaque(), a.value()))));
      String text = String.valueOf(e.getMessage());
      assertTrue(text.startsWith("opaque: "), text);
      assertTrue(text.contains("at encoder"), text);
      assertTrue(text.contains("noGrad"), text);
    } finally {
      ModulePath.pop();
    }
  }

  @Test
  void anOpWithoutBackwardMayRunOnConstants() {
    Parameter a = parameter("a", 1, 2);
    Tensor x = Tensor.of(new double[] {5, 7}, 2);
    Gradients g =
        Autograd.valueAndGrad(List.of(a), () -> sum(Executor.run(new Opaque(), x).mul(a.value())))
            .gradients();
    assertArrayEquals(new double[] {5, 7}, values(g.get(a)));
  }

  @Test
  void gradientFreeOpsGiveConstants() {
    Tensor x = Tensor.of(new double[] {1.5, -2.5}, 2);
    Tensor g = Autograd.grad(v -> sum(v.mul(Executor.run(new Steps(), v))), x);
    assertArrayEquals(new double[] {1, -3}, values(g));
    Tensor h =
        Autograd.grad(v -> sum(v.mul(Num.cast(Num.gt(v, Tensor.zeros(v.spec())), v.dtype()))), x);
    assertArrayEquals(new double[] {1, 0}, values(h));
  }

  @Test
  void compositeOpsAreRecordedByTheirParts() {
    Tensor x = Tensor.of(new double[] {2, 3}, 2);
    Tensor g = Autograd.grad(v -> sum(Executor.run(new Cube(), v)), x);
    assertArrayEquals(new double[] {12, 27}, values(g));
  }

  @Test
  void detachAndNoGradGiveConstants() {
    Tensor x = Tensor.of(new double[] {2, 3}, 2);
    assertArrayEquals(
        new double[] {2, 3}, values(Autograd.grad(v -> sum(v.mul(Autograd.detach(v))), x)));
    assertArrayEquals(
        new double[] {4, 9},
        values(Autograd.grad(v -> sum(v.mul(Autograd.noGrad(() -> v.mul(v)))), x)));
  }

  @Test
  void theArgumentIsTheOnlyVariable() {
    Tensor x = Tensor.of(new double[] {2, 3}, 2);
    assertArrayEquals(new double[] {2, 3}, values(Autograd.grad(v -> sum(v.mul(x)), x)));
    Tensor[] both = Autograd.grad(v -> sum(v[0].mul(v[0]).mul(v[1])), x, x);
    assertArrayEquals(new double[] {8, 18}, values(both[0]));
    assertArrayEquals(new double[] {4, 9}, values(both[1]));
  }

  @Test
  void aFunctionThatIgnoresItsArgumentHasZeroGradient() {
    Tensor x = Tensor.of(new double[] {2, 3}, 2);
    assertArrayEquals(new double[2], values(Autograd.grad(v -> Tensor.scalar(1), x)));
  }

  @Test
  void vectorJacobianProducts() {
    Tensor x = Tensor.of(new double[] {2, 3}, 2);
    Tensor w = Tensor.of(new double[] {10, -1}, 2);
    Autograd.Pullback r = Autograd.vjp(v -> v[0].mul(v[0]), new Tensor[] {x}, w);
    assertArrayEquals(new double[] {4, 9}, values(r.value()));
    assertArrayEquals(new double[] {40, -6}, values(r.gradients().getFirst()));
    assertThrows(
        ShapeException.class, () -> Autograd.vjp(v -> v[0], new Tensor[] {x}, Tensor.scalar(1)));
  }

  @Test
  void thirdDerivative() {
    Tensor x = Tensor.of(new double[] {2});
    Tensor third =
        Autograd.grad(a -> Autograd.grad(b -> Autograd.grad(c -> c.mul(c).mul(c).mul(c), b), a), x);
    assertEquals(48, third.item());
  }

  @Test
  void anInnerGradientIsDifferentiatedByTheParametersOutside() {
    Parameter w = parameter("w", 3);
    Tensor x = Tensor.of(new double[] {5}, 1);
    // d/dx (w x²) = 2 w x; its square is 4 w² x²; by w: 8 w x²
    Autograd.Result r =
        Autograd.valueAndGrad(
            List.of(w),
            () -> {
              Tensor d = Autograd.grad(v -> sum(w.value().mul(v).mul(v)), x);
              return sum(d.mul(d));
            });
    assertEquals(900, r.value().item());
    assertArrayEquals(new double[] {600}, values(r.gradients().get(w)));
  }

  @Test
  void theSameParameterTwiceCountsOnce() {
    Parameter a = parameter("a", 1, 2);
    Gradients g = Autograd.valueAndGrad(List.of(a, a), () -> sum(a.value())).gradients();
    assertEquals(1, g.asMap().size());
    assertSame(a, g.asMap().keySet().iterator().next());
  }

  @Test
  void gradientsCanBeClippedScaledAndAccumulated() {
    Parameter a = parameter("a", 3, 4);
    Parameter b = parameter("b", 1);
    Gradients g =
        Autograd.valueAndGrad(List.of(a, b), () -> sum(a.value().mul(a.value())).mul(0.5))
            .gradients();
    assertEquals(5, g.norm(), 1e-12);
    assertEquals(5, g.clipByNorm(10), 1e-12);
    assertArrayEquals(new double[] {3, 4}, values(g.get(a)));
    assertEquals(5, g.clipByNorm(1), 1e-12);
    assertEquals(5 / (5 + 1e-6), g.norm(), 1e-12);
    g.scale(2);
    assertEquals(10 / (5 + 1e-6), g.norm(), 1e-12);
    Gradients other =
        Autograd.valueAndGrad(List.of(a, b), () -> sum(a.value().mul(b.value()))).gradients();
    g.accumulate(other);
    assertEquals(List.of(), g.unused());
    assertArrayEquals(new double[] {7}, values(g.get(b)));
    assertThrows(IllegalArgumentException.class, () -> g.clipByNorm(0));
  }

  @Test
  void gradientsOfMicroBatchesAddUp() {
    Parameter a = parameter("a", 1, 2);
    try (GradientAccumulator sum = new GradientAccumulator()) {
      assertThrows(IllegalStateException.class, sum::mean);
      for (int k = 1; k <= 3; k++) {
        int factor = k;
        Scope.run(
            () ->
                sum.add(
                    Autograd.valueAndGrad(List.of(a), () -> sum(a.value().mul(factor)))
                        .gradients()));
      }
      assertEquals(3, sum.count());
      assertArrayEquals(new double[] {6, 6}, values(sum.sum().get(a)));
      assertArrayEquals(new double[] {2, 2}, values(sum.mean().get(a)));
      sum.reset();
      assertEquals(0, sum.count());
    }
  }

  // ---- ops for tests

  private record Opaque() implements Op {
    @Override
    public String name() {
      return "opaque";
    }

    @Override
    public List<TensorSpec> infer(List<TensorSpec> in) {
      return List.of(in.getFirst());
    }

    @Override
    public void reference(Dense[] in, Dense[] out) {
      System.arraycopy(in[0].data(), 0, out[0].data(), 0, in[0].numel());
    }
  }

  private record Steps() implements GradientFree {
    @Override
    public String name() {
      return "steps";
    }

    @Override
    public List<TensorSpec> infer(List<TensorSpec> in) {
      return List.of(in.getFirst());
    }

    @Override
    public void reference(Dense[] in, Dense[] out) {
      for (int i = 0; i < in[0].numel(); i++) {
        out[0].data()[i] = Math.floor(in[0].data()[i]);
      }
    }
  }

  private record Cube() implements Composite {
    @Override
    public String name() {
      return "cube";
    }

    @Override
    public List<TensorSpec> infer(List<TensorSpec> in) {
      return List.of(in.getFirst());
    }

    @Override
    public void reference(Dense[] in, Dense[] out) {
      for (int i = 0; i < in[0].numel(); i++) {
        out[0].data()[i] = Math.pow(in[0].data()[i], 3);
      }
    }

    @Override
    public Tensor[] compose(Tensor[] in) {
      return new Tensor[] {in[0].mul(in[0]).mul(in[0])};
    }
  }

  private record Overwrite() implements InPlaceOp {
    @Override
    public String name() {
      return "overwrite";
    }

    @Override
    public int[] mutated() {
      return new int[] {0};
    }

    @Override
    public void check(List<TensorSpec> in) {
      assertEquals(DType.F64, in.getFirst().dtype());
    }

    @Override
    public void reference(Dense[] in, Dense[] out) {
      java.util.Arrays.fill(in[0].data(), -1);
    }
  }
}
