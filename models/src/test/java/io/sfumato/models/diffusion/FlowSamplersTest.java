// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class FlowSamplersTest {
  /** Data of mean 0.6 and standard deviation 0.5. */
  private static final double MEAN = 0.6;

  private static final double STD = 0.5;

  static SafeTensors golden(String name) {
    try {
      return SafeTensors.open(
          Path.of(FlowSamplersTest.class.getResource("/diffusion/" + name).toURI()));
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The velocity of golden/diffusion, in this library's direction of time. */
  private static Tensor fixed(Tensor x, double[] times) {
    return Num.tanh(x).mul(0.7).add(0.3 * (1 - times[0] / 1000) - 0.2).neg();
  }

  /** SiT's samplers by their formulas in PyTorch: every path, solver, diffusion and end. */
  @Test
  void everyWayOfSamplingIsSits() {
    try (Scope scope = Scope.open();
        SafeTensors golden = golden("flows.safetensors")) {
      Tensor start = golden.read("start");
      Tensor draws = golden.read("draws");
      int steps = draws.dim(0) + 1;
      int compared = 0;
      for (var solver : FlowSamplers.Solver.values()) {
        Tensor end =
            FlowSamplers.ode(
                (x, t, y) -> fixed(x, t),
                start,
                null,
                steps,
                solver,
                FlowPath.LINEAR,
                Listener.NONE);
        assertClose("ode." + solver, golden.read("ode." + solver), end);
        for (FlowPath path : FlowPath.values()) {
          for (var diffusion : FlowSamplers.Diffusion.values()) {
            for (var last : FlowSamplers.LastStep.values()) {
              var options =
                  FlowSamplers.SdeOptions.of(path)
                      .solver(solver)
                      .diffusion(diffusion, 0.8)
                      .last(last, 0.04);
              int[] drawn = {0};
              Tensor z =
                  FlowSamplers.sde(
                      (x, t, y) -> fixed(x, t),
                      start,
                      null,
                      steps,
                      options,
                      spec -> draws.select(0, drawn[0]++),
                      Listener.NONE);
              String name =
                  "sde."
                      + path.name().toLowerCase(java.util.Locale.ROOT)
                      + "."
                      + solver
                      + "."
                      + diffusion
                      + "."
                      + last;
              assertClose(name, golden.read(name), z);
              assertEquals(steps - 1, drawn[0], "draws");
              compared++;
            }
          }
        }
      }
      assertEquals(72, compared);
    }
  }

  private static void assertClose(String what, Tensor expected, Tensor actual) {
    double[] e = expected.toDoubleArray();
    double[] a = actual.toDoubleArray();
    for (int i = 0; i < e.length; i++) {
      assertEquals(e[i], a[i], 1e-9 * Math.max(1, Math.abs(e[i])), what);
    }
  }

  /** The exact velocity of normal data: E[α' x₀ + σ' ε | x]. */
  private static Network exact(FlowPath path) {
    return (x, t, y) -> {
      double s = t[0] / 1000;
      double a = path.alpha(s);
      double b = path.sigma(s);
      double variance = a * a * STD * STD + b * b;
      double slope = (path.alphaRate(s) * a * STD * STD + path.sigmaRate(s) * b) / variance;
      return x.sub(a * MEAN).mul(slope).add(path.alphaRate(s) * MEAN);
    };
  }

  private static TensorSpec spec(int... shape) {
    return new TensorSpec(Shape.of(shape), DType.F64, Device.CPU);
  }

  /** Both solvers lead normal noise to normal data, with the order of error they promise. */
  @ParameterizedTest
  @EnumSource(FlowPath.class)
  void solversHaveTheirOrder(FlowPath path) {
    try (Scope scope = Scope.open()) {
      Tensor noise = Rng.seed(1).normal(spec(64, 1, 1, 1));
      Tensor answer = noise.mul(STD).add(MEAN);
      for (var solver : FlowSamplers.Solver.values()) {
        double[] errors = new double[2];
        for (int i = 0; i < 2; i++) {
          Tensor end =
              FlowSamplers.ode(exact(path), noise, null, 40 << i, solver, path, Listener.NONE);
          errors[i] = Num.max(end.sub(answer).abs()).item();
        }
        double order = Math.log(errors[0] / errors[1]) / Math.log(2);
        assertEquals(solver.calls(), order, 0.25, path + " " + solver);
        assertTrue(errors[1] < 0.03, path + " " + solver + " " + errors[1]);
      }
    }
  }

  /** The stochastic process ends at the data's mean and deviation, however much noise it adds. */
  @ParameterizedTest
  @EnumSource(FlowSamplers.Diffusion.class)
  void theStochasticProcessHasTheDatasMarginal(FlowSamplers.Diffusion diffusion) {
    try (Scope scope = Scope.open()) {
      Tensor noise = Rng.seed(2).normal(5000, 1);
      for (FlowPath path : FlowPath.values()) {
        var options =
            FlowSamplers.SdeOptions.of(path)
                .diffusion(diffusion, 1)
                .last(FlowSamplers.LastStep.MEAN, 0.01);
        NoiseSource source = NoiseSource.of(Rng.seed(3));
        Tensor end =
            FlowSamplers.sde(exact(path), noise, null, 100, options, source, Listener.NONE);
        assertEquals(MEAN, Num.mean(end).item(), 0.03, path.name());
        assertEquals(STD, Num.std(end, 1, false, 0).item(), 0.03, path.name());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(FlowPath.class)
  void aVelocityTellsNoiseAndData(FlowPath path) {
    try (Scope scope = Scope.open()) {
      Tensor x0 = Rng.seed(1).normal(spec(3, 2));
      Tensor noise = Rng.seed(2).normal(spec(3, 2));
      double[] s = {0.3, 0.3, 0.3};
      Tensor x = path.mix(x0, noise, s);
      Tensor v = path.velocity(x0, noise, s);
      assertArrayEquals(x0.toDoubleArray(), path.x0(x, v, 0.3).toDoubleArray(), 1e-12);
      assertArrayEquals(noise.toDoubleArray(), path.noise(x, v, 0.3).toDoubleArray(), 1e-12);
      double h = 1e-6;
      double[] later = {0.3 + h, 0.3 + h, 0.3 + h};
      Tensor slope = path.mix(x0, noise, later).sub(x).div(h);
      assertArrayEquals(v.toDoubleArray(), slope.toDoubleArray(), 1e-4);
    }
  }

  @Test
  void theListenerSeesEstimatesAndMayStop() {
    try (Scope scope = Scope.open()) {
      Tensor x0 = Rng.seed(1).normal(spec(2, 1));
      Tensor noise = Rng.seed(2).normal(spec(2, 1));
      List<Integer> seen = new ArrayList<>();
      Tensor end =
          FlowSamplers.ode(
              (x, t, y) -> noise.sub(x0),
              noise,
              null,
              4,
              FlowSamplers.Solver.EULER,
              FlowPath.LINEAR,
              p -> {
                seen.add(p.step());
                assertEquals(4, p.of());
                assertArrayEquals(x0.toDoubleArray(), p.x0().toDoubleArray(), 1e-12);
                return p.step() < 2;
              });
      assertEquals(List.of(1, 2), seen);
      assertArrayEquals(
          x0.add(noise).mul(0.5).toDoubleArray(), end.toDoubleArray(), 1e-12, "half the way");
    }
  }

  @Test
  void wrongOptionsAreNamed() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.zeros(1, 1);
      assertThrows(
          IllegalArgumentException.class,
          () ->
              FlowSamplers.sde(
                  (z, t, y) -> z,
                  x,
                  null,
                  1,
                  FlowSamplers.SdeOptions.of(FlowPath.LINEAR),
                  NoiseSource.of(Rng.seed(0)),
                  Listener.NONE));
      assertThrows(
          IllegalArgumentException.class,
          () -> FlowSamplers.SdeOptions.of(FlowPath.GVP).last(FlowSamplers.LastStep.MEAN, 1));
      assertThrows(IllegalArgumentException.class, () -> FlowPath.parse("curved"));
    }
  }

  /** The denoiser's loss follows the path: a network that knows the velocity has none. */
  @ParameterizedTest
  @EnumSource(FlowPath.class)
  void theLossIsOfThePath(FlowPath path) {
    try (Scope scope = Scope.open()) {
      Tensor x0 = Rng.seed(1).normal(spec(2, 1, 2, 2));
      Tensor noise = Rng.seed(2).normal(spec(2, 1, 2, 2));
      double[] s = {0.2, 0.9};
      Network knows =
          (x, t, y) -> {
            assertArrayEquals(new double[] {200, 900}, t, 1e-9);
            assertArrayEquals(path.mix(x0, noise, s).toDoubleArray(), x.toDoubleArray(), 1e-12);
            return path.velocity(x0, noise, s);
          };
      NoiseSchedule schedule =
          new NoiseSchedule(SchedulerConfig.of("FlowMatchEulerDiscreteScheduler"));
      Denoiser denoiser = new Denoiser(knows, schedule).with(LossOptions.PLAIN.path(path));
      assertEquals(0, denoiser.flowLoss(x0, noise, s, null).item(), 1e-15);
    }
  }
}
