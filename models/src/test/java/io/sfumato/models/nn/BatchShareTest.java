// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.LossWeight;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BatchShareTest {
  private static Tensor shared(int count, Supplier<Tensor> body) {
    List<Tensor> parts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      parts.add(new BatchShare(i, count).run(body));
    }
    return Shaping.concat(0, parts.toArray(Tensor[]::new));
  }

  private static TensorSpec f64(int... shape) {
    return new TensorSpec(Shape.of(shape), DType.F64, Device.CPU);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 6})
  void sharesDrawTogetherWhatOneProcessDraws(int count) {
    try (Scope scope = Scope.open()) {
      Rng rng = Rng.seed(4);
      assertArrayEquals(
          rng.normal(f64(6, 5)).toDoubleArray(),
          shared(count, () -> BatchShare.current().normal(rng, f64(6 / count, 5))).toDoubleArray());
      assertArrayEquals(
          rng.uniform(6, 5).toFloatArray(),
          shared(count, () -> BatchShare.current().uniform(rng, f64(6 / count, 5).with(DType.F32)))
              .toFloatArray());
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void dropoutDropsTheSameElementsInSharesAsInTheWholeBatch(int count) {
    try (Scope scope = Scope.open();
        Dropout layer = new Dropout(Weights.init(Rng.seed(1)), 0.3)) {
      Tensor x = Rng.seed(2).normal(f64(6, 4, 5));
      Rng rng = Rng.seed(3);
      assertArrayEquals(
          Dropout.active(rng, () -> layer.call(x)).toDoubleArray(),
          shared(count, () -> Dropout.active(rng, () -> layer.call(BatchShare.current().cut(x))))
              .toDoubleArray());
    }
  }

  /** A network whose output depends on everything it is given. */
  private static Tensor network(Tensor x, double[] t) {
    return Num.sin(x.add(Tensor.of(t, t.length, 1, 1, 1)));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 8})
  void theLossOfABatchIsTheMeanOfItsShares(int count) {
    for (SchedulerConfig config :
        List.of(
            SchedulerConfig.ddpm(),
            SchedulerConfig.ddpm().with(Prediction.V_PREDICTION),
            SchedulerConfig.of("FlowMatchEulerDiscreteScheduler"))) {
      for (LossOptions options :
          List.of(
              LossOptions.PLAIN,
              LossOptions.PLAIN
                  .weighted(LossWeight.minSnr(5))
                  .offsetNoise(0.1)
                  .inputPerturbation(0.1))) {
        try (Scope scope = Scope.open()) {
          Denoiser denoiser =
              new Denoiser((x, t, c) -> network(x, t), new NoiseSchedule(config)).with(options);
          Tensor x0 = Rng.seed(5).normal(f64(8, 3, 2, 2));
          double whole = denoiser.loss(x0, null, Rng.seed(6)).item();
          double sum = 0;
          for (int i = 0; i < count; i++) {
            sum +=
                new BatchShare(i, count)
                    .run(
                        () ->
                            denoiser.loss(BatchShare.current().cut(x0), null, Rng.seed(6)).item());
          }
          assertEquals(whole, sum / count, 1e-14 * whole);
        }
      }
    }
  }

  @Test
  void sharesAreEqualOrRefused() {
    try (Scope scope = Scope.open()) {
      Tensor five = Tensor.zeros(5, 2);
      assertThrows(IllegalArgumentException.class, () -> new BatchShare(0, 2).cut(five));
      assertThrows(IllegalArgumentException.class, () -> new BatchShare(2, 2));
      assertThrows(IllegalArgumentException.class, () -> new BatchShare(-1, 2));
    }
  }
}
