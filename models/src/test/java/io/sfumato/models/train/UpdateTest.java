// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.autograd.optim.LossScale;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** The step that all trainers share. */
class UpdateTest {
  private static final int ROWS = 3;

  private static Linear layer(DType type) {
    return new Linear(Weights.init(Rng.seed(1), type, Device.CPU), 5, 2);
  }

  /** Batch i of a data set of rows. */
  private static Tensor x(long number, int rows, DType type) {
    double[] values = new double[rows * 5];
    for (int i = 0; i < values.length; i++) {
      values[i] = Math.sin((double) (number * rows * 5 + i));
    }
    return Tensor.of(values, type, Device.CPU, rows, 5);
  }

  private static Update.BatchLoss loss(Linear model, int rows, DType type) {
    return number -> {
      Tensor x = x(number, rows, type);
      Tensor target = x.slice(1, 0, 2).mul(3);
      return () -> new Tensor[] {NN.mse(model.call(x), target)};
    };
  }

  private static double[] values(List<Parameter> parameters) {
    return parameters.stream()
        .flatMapToDouble(p -> Arrays.stream(p.value().toDoubleArray()))
        .toArray();
  }

  /** In F64, with clipping and averages, over several steps. */
  @Test
  void microBatchesMakeTheStepOfOneBigBatch() {
    UpdateOptions options = UpdateOptions.adamW().clipNorm(0.5).ema(Ema.options());
    try (Scope scope = Scope.open();
        Linear one = layer(DType.F64);
        Linear four = layer(DType.F64);
        Update big = new Update(one, options);
        Update small = new Update(four, options.accumulate(4))) {
      for (int step = 0; step < 5; step++) {
        Update.Done a = big.step(0.1, step, 1, loss(one, 4 * ROWS, DType.F64));
        Update.Done b = small.step(0.1, 4L * step, 4, loss(four, ROWS, DType.F64));
        assertEquals(a.loss(), b.loss(), 1e-13);
        assertEquals(a.gradientNorm(), b.gradientNorm(), 1e-13);
      }
      assertArrayEquals(values(one.parameters()), values(four.parameters()), 1e-12);
      assertArrayEquals(values(big.ema().averages()), values(small.ema().averages()), 1e-12);
    }
  }

  @Test
  void theNormIsReportedBeforeItIsLimitedAndZeroMeansNoGradient() {
    try (Scope scope = Scope.open();
        Linear model = layer(DType.F32);
        Update update = new Update(model, UpdateOptions.adamW().clipNorm(1e-3))) {
      Update.Done done = update.step(1e-3, 0, 1, loss(model, ROWS, DType.F32));
      assertTrue(done.gradientNorm() > 0.1, done.toString());
    }
  }

  /** A step of 16 bits is near that of 32; both are not equal, or nothing was cast. */
  @Test
  void sixteenBitsComeNear() {
    Map<Precision, double[]> results = new LinkedHashMap<>();
    for (Precision precision : Precision.values()) {
      UNet2DConfig config =
          UNet2DConfig.builder()
              .levels(List.of(8, 8), List.of(false, true))
              .layersPerBlock(1)
              .normNumGroups(4)
              .numClassEmbeds(3)
              .build();
      try (Scope scope = Scope.open();
          UNet2D model = new UNet2D(Weights.init(Rng.seed(3)), config);
          Update update = new Update(model, UpdateOptions.adamW().precision(precision))) {
        Tensor x = Rng.seed(4).normal(2, 3, 8, 8);
        Tensor labels = Tensor.of(new long[] {0, 2}, 2);
        Update.BatchLoss loss =
            number ->
                () -> {
                  Tensor y = model.call(x, new double[] {5, 700}, labels);
                  return new Tensor[] {NN.mse(y, x), y};
                };
        Update.Done first = update.step(1e-3, 0, 1, loss);
        Update.Done second = update.step(1e-3, 1, 1, loss);
        assertEquals(DType.F32, model.parameters().getFirst().value().dtype());
        results.put(precision, new double[] {first.loss(), first.gradientNorm(), second.loss()});
      }
    }
    double[] full = results.get(Precision.F32);
    for (Precision low : List.of(Precision.BF16, Precision.F16)) {
      for (int i = 0; i < full.length; i++) {
        double value = results.get(low)[i];
        assertNotEquals(full[i], value);
        assertEquals(
            full[i], value, (low == Precision.BF16 ? 0.05 : 0.01) * full[i], low + " " + i);
      }
    }
  }

  /** Gradients that only overflow because of the scale: left out, counted, halved, saved. */
  @Test
  void anOverflowOfTheLossScaleSkipsTheStepAndHalvesTheScale() {
    UpdateOptions options =
        UpdateOptions.adam()
            .precision(Precision.F16)
            .ema(Ema.options())
            .lossScale(new LossScale.Options(0x1p20, 2, 0.5, 2));
    try (Scope scope = Scope.open();
        Linear model = layer(DType.F32);
        Update update = new Update(model, options);
        Linear other = layer(DType.F32);
        Update resumed = new Update(other, options)) {
      Update.BatchLoss loss = loss(model, ROWS, DType.F32);
      List<Double> scales = new ArrayList<>();
      int skipped = 0;
      for (int i = 0; i < 12; i++) {
        scales.add(update.lossScale().scale());
        double[] before = values(model.parameters());
        Update.Done done = update.step(0.01, 0, 1, loss);
        if (done.skipped()) {
          skipped++;
          assertArrayEquals(before, values(model.parameters()));
          assertEquals(scales.getLast() / 2, update.lossScale().scale());
        }
      }
      assertTrue(skipped > 0 && skipped < 10, "skipped " + skipped + " at " + scales);
      boolean grew = false;
      for (int i = 1; i < scales.size(); i++) {
        grew |= scales.get(i) == 2 * scales.get(i - 1);
      }
      assertTrue(grew, scales.toString());
      assertEquals(12 - skipped, update.optimizer().stepCount());
      resumed.load(update.state());
      assertEquals(update.lossScale().scale(), resumed.lossScale().scale());
      assertEquals(update.lossScale().goodSteps(), resumed.lossScale().goodSteps());
    }
  }

  /** Two processes, each with its own half of a batch. */
  @Test
  void anExchangeSeesTheMeanGradientOnceAndDecidesForAll() {
    int[] calls = {0};
    GradientExchange doubled =
        new GradientExchange() {
          @Override
          public Gradients average(List<Parameter> parameters, Gradients own) {
            calls[0]++;
            Gradients twice = Gradients.of(own.asMap());
            twice.scale(2);
            return twice;
          }

          @Override
          public double average(double own) {
            return own + 1;
          }
        };
    try (Scope scope = Scope.open();
        Linear one = layer(DType.F64);
        Linear two = layer(DType.F64);
        Update alone = new Update(one, UpdateOptions.adam());
        Update together = new Update(two, UpdateOptions.adam().accumulate(2).exchange(doubled))) {
      Update.Done a = alone.step(0.1, 0, 2, loss(one, ROWS, DType.F64));
      Update.Done b = together.step(0.1, 0, 2, loss(two, ROWS, DType.F64));
      assertEquals(1, calls[0]);
      assertEquals(2 * a.gradientNorm(), b.gradientNorm(), 1e-12);
      assertEquals(a.loss() + 1, b.loss(), 1e-12);
    }
  }

  private static NonFiniteException failure(
      UnaryOperator<Tensor> batch, double weight, UnaryOperator<Tensor> after) {
    try (Scope scope = Scope.open();
        Linear model = layer(DType.F32);
        Update update = new Update(model, UpdateOptions.adamW())) {
      if (!Double.isFinite(weight)) {
        Tensor w = model.parameters().getFirst().value();
        double[] values = w.toDoubleArray();
        values[7] = weight;
        Updates.copy(w, Tensor.of(values, DType.F32, Device.CPU, 2, 5));
      }
      double[] before = values(model.parameters());
      NonFiniteException e =
          assertThrows(
              NonFiniteException.class,
              () ->
                  update.step(
                      0.1,
                      40,
                      2,
                      number -> {
                        Tensor x = x(number, ROWS, DType.F32);
                        Tensor given = number == 41 ? batch.apply(x) : x;
                        return () ->
                            new Tensor[] {Num.mean(after.apply(model.call(given).mul(1.5)))};
                      }));
      assertArrayEquals(before, values(model.parameters()));
      assertEquals(0, update.optimizer().stepCount());
      return e;
    }
  }

  @Test
  void aBatchWithNanIsNamed() {
    NonFiniteException e =
        failure(x -> Tensor.of(nan(x), DType.F32, Device.CPU, ROWS, 5), 0, y -> y);
    assertEquals("the loss became NaN", e.what());
    assertEquals(41, e.batch());
    assertTrue(e.where().contains("input 0 came with it: its element 4 is NaN"), e.where());
    assertTrue(e.where().startsWith("linear: "), e.where());
  }

  private static double[] nan(Tensor x) {
    double[] values = x.toDoubleArray();
    values[4] = Double.NaN;
    return values;
  }

  @Test
  void aWeightThatBecameInfiniteIsNamed() {
    NonFiniteException e = failure(x -> x, Double.POSITIVE_INFINITY, y -> y);
    assertEquals(40, e.batch());
    assertTrue(
        e.where()
            .startsWith(
                "parameter weight has 1 of 10 elements that are not finite, the first is element"
                    + " 7, Infinity; seen first by linear"),
        e.where());
  }

  @Test
  void anOpThatMakesNanOfGoodNumbersIsNamedWithItsModule() {
    NonFiniteException e =
        failure(
            x -> x,
            0,
            y -> {
              ModulePath.push("decoder.conv_out");
              try {
                return Num.log(Num.affine(y.mul(y), -1, 0));
              } finally {
                ModulePath.pop();
              }
            });
    assertTrue(e.where().startsWith("log: element 0 of output 0 is NaN"), e.where());
    assertTrue(e.where().endsWith("; at decoder.conv_out"), e.where());
  }

  /** The loss is finite and its gradient is not: the square root of 0. */
  @Test
  void aGradientThatIsNotFiniteIsFoundInBackward() {
    NonFiniteException e = failure(x -> x, 0, y -> Num.sqrt(y.sub(y)));
    assertTrue(e.what().startsWith("the norm of the gradients became "), e.what());
    assertTrue(e.where().contains("(backward of sqrt)"), e.where());
  }

  @Test
  void optionsSayEverythingThatIsWrong() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> UpdateOptions.adam().accumulate(0))
            .getMessage();
    assertTrue(message.contains("micro-batches per step must be 1 at least, got 0"), message);
    assertThrows(IllegalArgumentException.class, () -> UpdateOptions.adam().clipNorm(-1.0));
    assertThrows(IllegalArgumentException.class, () -> Precision.parse("f8"));
    assertThrows(IllegalArgumentException.class, () -> OptimizerKind.parse("sgdx"));
  }
}
