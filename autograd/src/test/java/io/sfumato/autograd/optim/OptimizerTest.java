// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Golden;
import io.sfumato.autograd.Gradients;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Optimizers against the trajectories of PyTorch. */
class OptimizerTest {
  private static final int[][] SHAPES = {{4, 6}, {5}, {2, 3, 4}};

  /** Each optimizer as make_golden.py makes it. */
  enum Kind {
    SGD(ps -> new Sgd(ps, Sgd.options().learningRate(0.05))),
    SGD_MOMENTUM(
        ps -> new Sgd(ps, Sgd.options().learningRate(0.05).momentum(0.9).weightDecay(0.02))),
    SGD_NESTEROV(ps -> new Sgd(ps, Sgd.options().learningRate(0.05).nesterov(0.8))),
    ADAM(ps -> new Adam(ps, Adam.options().learningRate(0.01).weightDecay(0.03))),
    ADAMW(
        ps -> new AdamW(ps, AdamW.options().learningRate(0.01).betas(0.8, 0.95).weightDecay(0.1))),
    ADAFACTOR(ps -> new Adafactor(ps, Adafactor.options().learningRate(0.05).weightDecay(0.02))),
    LION(ps -> new Lion(ps, Lion.options().learningRate(0.01).weightDecay(0.1)));

    final Function<List<Parameter>, Optimizer> make;

    Kind(Function<List<Parameter>, Optimizer> make) {
      this.make = make;
    }
  }

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

  private List<Parameter> parameters(DType dtype) {
    List<Parameter> ps = new ArrayList<>();
    for (int k = 0; k < SHAPES.length; k++) {
      double[] values = new double[(int) Shape.of(SHAPES[k]).numel()];
      for (int i = 0; i < values.length; i++) {
        values[i] = Math.cos(0.9 * i + k);
      }
      ps.add(new Parameter("p" + k, Tensor.of(values, dtype, Device.CPU, SHAPES[k])));
    }
    opened.addAll(ps);
    return ps;
  }

  private static Gradients gradients(List<Parameter> ps, int t) {
    Map<Parameter, Tensor> grads = new LinkedHashMap<>();
    for (int k = 0; k < ps.size(); k++) {
      if (k == 1 && t % 3 == 0) {
        continue; // without a gradient
      }
      Tensor p = ps.get(k).value();
      double[] values = p.toDoubleArray();
      boolean narrow = p.dtype() != DType.F64;
      for (int i = 0; i < values.length; i++) {
        double g = Math.sin(1.3 * i + 0.7 * t + k) * (1 + 0.1 * t);
        values[i] = narrow ? (float) g + 0.3f * (float) values[i] : g + 0.3 * values[i];
      }
      grads.put(ps.get(k), Tensor.of(values, p.dtype(), Device.CPU, p.shape().dims()));
    }
    return Gradients.of(grads);
  }

  private static void steps(Optimizer optimizer, List<Parameter> ps, int from, int to) {
    for (int t = from; t <= to; t++) {
      int step = t;
      Scope.run(() -> optimizer.step(gradients(ps, step)));
    }
  }

  @ParameterizedTest
  @EnumSource
  void trajectoryIsPyTorchs(Kind kind) {
    Golden golden = new Golden("optimizers.txt");
    for (DType dtype : new DType[] {DType.F64, DType.F32}) {
      List<Parameter> ps = parameters(dtype);
      try (Optimizer optimizer = kind.make.apply(ps)) {
        int done = 0;
        for (int t : new int[] {1, 2, 12}) {
          steps(optimizer, ps, done + 1, t);
          done = t;
          for (int k = 0; k < ps.size(); k++) {
            String name = kind.name().toLowerCase(java.util.Locale.ROOT);
            double[] expected = golden.get(name + "." + dtype.label() + "." + t + "." + k);
            assertArrayEquals(
                expected,
                ps.get(k).value().toDoubleArray(),
                dtype == DType.F64 ? 1e-11 : 2e-6,
                kind + " " + dtype + " step " + t + " parameter " + k);
          }
        }
        assertEquals(12, optimizer.stepCount());
      }
    }
  }

  @Test
  void limitedWithAveragesItIsPyTorchs() {
    Golden golden = new Golden("limited.txt");
    for (DType dtype : new DType[] {DType.F64, DType.F32}) {
      List<Parameter> ps = parameters(dtype);
      try (Optimizer optimizer = Kind.ADAMW.make.apply(ps);
          Ema ema = new Ema(ps, Ema.options().decay(0.6))) {
        for (int t = 1; t <= 12; t++) {
          StepOptions options = StepOptions.limit(t % 2 == 0 ? 1.5 : 100).average(ema);
          int step = t;
          Scope.run(() -> optimizer.step(gradients(ps, step), options));
          for (int k = 0; (t <= 2 || t == 12) && k < ps.size(); k++) {
            String at = dtype.label() + "." + t + "." + k;
            double tolerance = dtype == DType.F64 ? 1e-11 : 2e-6;
            double[] average = ema.averages().get(k).value().toDoubleArray();
            assertArrayEquals(golden.get("a." + at), average, tolerance, at);
            double[] p = ps.get(k).value().toDoubleArray();
            assertArrayEquals(golden.get("p." + at), p, tolerance, at);
          }
        }
      }
    }
  }

  /** In f64, where rounding hides nothing; averages also of a parameter that gets no gradient. */
  @ParameterizedTest
  @EnumSource
  void limitAndAveragesEqualPassesOfTheirOwn(Kind kind) {
    List<Parameter> apart = parameters(DType.F64);
    List<Parameter> together = parameters(DType.F64);
    List<Parameter> some = together.subList(1, 3);
    try (Optimizer a = kind.make.apply(apart);
        Optimizer b = kind.make.apply(together);
        Ema apartEma = new Ema(apart.subList(1, 3), Ema.options().decay(0.6));
        Ema togetherEma = new Ema(some, Ema.options().decay(0.6))) {
      for (int t = 1; t <= 7; t++) {
        int step = t;
        Scope.run(
            () -> {
              Gradients g = gradients(apart, step);
              g.scale(0.5);
              g.clipByNorm(2);
              a.step(g);
              apartEma.update();
            });
        StepOptions options = StepOptions.limit(2).scale(0.5).average(togetherEma);
        Scope.run(() -> b.step(gradients(together, step), options));
      }
      for (int k = 0; k < apart.size(); k++) {
        double[] expected = apart.get(k).value().toDoubleArray();
        assertArrayEquals(expected, together.get(k).value().toDoubleArray(), 1e-12);
      }
      for (int k = 0; k < 2; k++) {
        double[] expected = apartEma.averages().get(k).value().toDoubleArray();
        assertArrayEquals(expected, togetherEma.averages().get(k).value().toDoubleArray(), 1e-12);
      }
    }
  }

  /** An infinite norm limits nothing, as {@link Gradients#clipByNorm} does. */
  @ParameterizedTest
  @EnumSource
  void normsThatAreNotFiniteLimitNothing(Kind kind) {
    for (DType dtype : new DType[] {DType.F32, DType.F64}) {
      List<Parameter> free = parameters(dtype);
      List<Parameter> limited = parameters(dtype);
      try (Optimizer a = kind.make.apply(free);
          Optimizer b = kind.make.apply(limited)) {
        Scope.run(() -> a.step(withInfinity(free)));
        Scope.run(() -> b.step(withInfinity(limited), StepOptions.limit(1)));
        for (int k = 0; k < free.size(); k++) {
          double[] expected = free.get(k).value().toDoubleArray();
          assertArrayEquals(expected, limited.get(k).value().toDoubleArray(), 0);
        }
      }
    }
  }

  private static Gradients withInfinity(List<Parameter> ps) {
    Map<Parameter, Tensor> grads = new LinkedHashMap<>(gradients(ps, 1).asMap());
    Tensor p = ps.get(1).value();
    double[] values = {1, Double.POSITIVE_INFINITY, 3, 4, 5};
    grads.put(ps.get(1), Tensor.of(values, p.dtype(), Device.CPU, 5));
    return Gradients.of(grads);
  }

  /** Averages of 16-bit parameters follow the masters. */
  @Test
  void averagesOfSixteenBitParametersFollowTheirMasters() {
    List<Parameter> ps = parameters(DType.BF16);
    try (Optimizer optimizer = Kind.ADAMW.make.apply(ps);
        Ema ema = new Ema(ps, Ema.options())) {
      Scope.run(() -> optimizer.step(gradients(ps, 1), StepOptions.NONE.average(ema)));
      Map<String, Tensor> state = optimizer.state();
      for (Parameter average : ema.averages()) { // the first update copies
        Tensor master = state.get(average.name() + ".master");
        assertArrayEquals(master.toDoubleArray(), average.value().toDoubleArray(), 2e-7);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void savedAndLoadedItGoesOnBitIdentically(Kind kind) {
    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
      List<Parameter> straight = parameters(dtype);
      List<Parameter> resumed = parameters(dtype);
      try (Optimizer a = kind.make.apply(straight);
          Optimizer b = kind.make.apply(resumed);
          Optimizer c = kind.make.apply(resumed)) {
        steps(a, straight, 1, 9);
        steps(b, resumed, 1, 4);
        c.load(b.state());
        steps(c, resumed, 5, 9);
        for (int k = 0; k < straight.size(); k++) {
          assertArrayEquals(
              straight.get(k).value().toDoubleArray(), resumed.get(k).value().toDoubleArray(), 0);
        }
        assertEquals(9, c.stepCount());
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void sixteenBitParametersFollowTheirMasters(Kind kind) {
    List<Parameter> wide = parameters(DType.F32);
    List<Parameter> narrow = parameters(DType.BF16);
    // the same start, and the same gradients: those of the narrow ones
    for (int k = 0; k < wide.size(); k++) {
      io.sfumato.tensor.ops.Updates.copy(wide.get(k).value(), narrow.get(k).value());
    }
    try (Optimizer a = kind.make.apply(wide);
        Optimizer b = kind.make.apply(narrow)) {
      for (int t = 1; t <= 5; t++) {
        Gradients g = gradients(narrow, t);
        Map<Parameter, Tensor> same = new LinkedHashMap<>();
        g.asMap().forEach((p, x) -> same.put(wide.get(narrow.indexOf(p)), x));
        a.step(Gradients.of(same));
        b.step(g);
      }
      for (int k = 0; k < wide.size(); k++) {
        double[] exact = wide.get(k).value().toDoubleArray();
        double[] got = narrow.get(k).value().toDoubleArray();
        for (int i = 0; i < got.length; i++) {
          assertEquals(exact[i], got[i], Math.abs(exact[i]) / 256 + 1e-30);
        }
      }
    }
  }

  @Test
  void groupsHaveTheirOwnRateAndDecay() {
    List<Parameter> ps = parameters(DType.F64);
    List<ParameterGroup> groups =
        List.of(
            ParameterGroup.of(ps.subList(0, 1)),
            ParameterGroup.of(ps.subList(1, 2)).learningRate(0.5),
            ParameterGroup.of(ps.subList(2, 3)).weightDecay(0.25));
    double[][] before = new double[3][];
    for (int k = 0; k < 3; k++) {
      before[k] = ps.get(k).value().toDoubleArray();
    }
    try (Optimizer optimizer = new Sgd(groups, Sgd.options().learningRate(0.1))) {
      optimizer.setLearningRateFactor(0.5);
      Gradients g = gradients(ps, 1);
      optimizer.step(g, 2);
      double[] rates = {0.05, 0.25, 0.05};
      double[] decays = {0, 0, 0.25};
      for (int k = 0; k < 3; k++) {
        double[] grad = g.asMap().get(ps.get(k)).toDoubleArray();
        double[] after = ps.get(k).value().toDoubleArray();
        for (int i = 0; i < after.length; i++) {
          double d = 2 * grad[i] + decays[k] * before[k][i];
          assertEquals(before[k][i] - rates[k] * d, after[i], 1e-12);
        }
      }
    }
  }

  @Test
  void stateIsNamedAndLoadingIsStrict() {
    List<Parameter> ps = parameters(DType.BF16);
    try (Optimizer a = new AdamW(ps, AdamW.options());
        Optimizer b = new AdamW(ps, AdamW.options())) {
      steps(a, ps, 1, 1);
      Map<String, Tensor> state = new LinkedHashMap<>(a.state());
      assertTrue(
          state
              .keySet()
              .containsAll(List.of("step", "p0.step", "p0.master", "p0.exp_avg", "p2.exp_avg_sq")));
      assertEquals(DType.F32, state.get("p0.master").dtype());
      state.remove("p0.exp_avg");
      state.put("nonsense", Tensor.scalar(1));
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> b.load(state));
      assertTrue(
          String.valueOf(e.getMessage()).contains("missing [p0.exp_avg], unknown [nonsense]"));
    }
  }

  @Test
  void optionsAreChecked() {
    assertThrows(IllegalArgumentException.class, () -> AdamW.options().learningRate(-1));
    assertThrows(IllegalArgumentException.class, () -> AdamW.options().betas(0.9, 1));
    assertThrows(IllegalArgumentException.class, () -> Adam.options().eps(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> Sgd.options().nesterov(0));
    assertThrows(IllegalArgumentException.class, () -> Adafactor.options().clip(0.5));
    assertThrows(IllegalArgumentException.class, () -> Adafactor.options().beta2Decay(1));
    assertThrows(IllegalArgumentException.class, () -> Lion.options().weightDecay(-0.1));
    assertThrows(IllegalArgumentException.class, () -> StepOptions.limit(0));
    assertThrows(
        IllegalArgumentException.class,
        () -> {
          try (Optimizer none = new Sgd(List.<Parameter>of(), Sgd.options())) {
            none.stepCount();
          }
        });
  }
}
