// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.autograd.optim.StepOptions;
import io.sfumato.models.nn.Linear;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.Test;

final class GraphedStepTest {
  private static final int STEPS = 6;

  @Test
  void trainsAsWithoutRecording() {
    List<Double> plain = losses(false);
    List<Double> graphed = losses(true);
    assertEquals(plain, graphed);
    assertNotEquals(plain.getFirst(), plain.getLast());
  }

  private static List<Double> losses(boolean graphed) {
    List<Double> losses = new ArrayList<>();
    try (Scope scope = Scope.open();
        Linear model = new Linear(Weights.init(Rng.seed(1)), 5, 3);
        AdamW optimizer = new AdamW(model.parameters(), AdamW.options().learningRate(0.1));
        Ema ema = new Ema(model.parameters(), Ema.options())) {
      StepOptions options = StepOptions.limit(0.5).average(ema);
      Tensor x = Tensor.zeros(4, 5);
      Tensor target = Rng.seed(2).normal(4, 3);
      try (GraphedStep step =
          GraphedStep.training(
              Device.CPU,
              optimizer,
              model.parameters(),
              options,
              () -> NN.mse(model.call(x), target))) {
        ToDoubleFunction<Integer> run =
            i -> {
              if (graphed) {
                return step.run()[0].item();
              }
              var result =
                  Autograd.valueAndGrad(model.parameters(), () -> NN.mse(model.call(x), target));
              optimizer.step(result.gradients(), options);
              return result.value().item();
            };
        for (int i = 0; i < STEPS; i++) {
          Updates.copy(x, Rng.seed(10 + i).normal(4, 5));
          optimizer.setLearningRate(0.1 / (1 + i));
          losses.add(run.applyAsDouble(i));
        }
      }
      assertEquals(STEPS, optimizer.stepCount());
    }
    return losses;
  }
}
