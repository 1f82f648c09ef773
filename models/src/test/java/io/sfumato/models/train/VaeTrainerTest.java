// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.vae.Vae;
import io.sfumato.models.vae.VaeConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VaeTrainerTest {
  @TempDir Path folder;

  private static VaeTrainer trainer() {
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(64).resolution(8)));
    VaeConfig config =
        VaeConfig.builder()
            .conv(List.of(4, 8), 16)
            .image(3, 8, 8)
            .latentDim(4)
            .numClasses(data.classNames().size())
            .build();
    Rng rng = Rng.seed(3);
    return new VaeTrainer(
        new Vae(Weights.init(rng), config), new BatchLoader(data, 8, 4, rng, Device.CPU), rng);
  }

  @Test
  void theLossFalls() {
    try (VaeTrainer trainer = trainer()) {
      double first = trainer.step(1e-2).loss();
      double last = first;
      for (int i = 0; i < 60; i++) {
        last = trainer.step(1e-2).loss();
      }
      assertTrue(last < 0.95 * first, first + " to " + last);
    }
  }

  @Test
  void aResumedRunIsTheSame() throws Exception {
    double[] whole = new double[4];
    try (VaeTrainer trainer = trainer()) {
      for (int i = 0; i < 4; i++) {
        whole[i] = trainer.step(1e-2).loss();
        if (i == 1) {
          trainer.save(Files.createDirectories(folder.resolve("two")));
        }
      }
    }
    try (VaeTrainer trainer = trainer()) {
      trainer.restore(folder.resolve("two"), 2);
      assertEquals(2, trainer.steps());
      double[] rest = {trainer.step(1e-2).loss(), trainer.step(1e-2).loss()};
      assertArrayEquals(new double[] {whole[2], whole[3]}, rest);
    }
    try (Vae vae = Vae.open(folder.resolve("two"))) {
      assertEquals(4, vae.config().latentDim());
    }
  }

  @Test
  void aLossThatIsNotFiniteEndsTheRunAndLeavesTheWeights() {
    try (VaeTrainer trainer = trainer();
        Interrupts interrupts = Interrupts.catchSignals();
        Scope scope = Scope.open()) {
      Parameter p = trainer.model().parameters().getFirst();
      Parameter other = trainer.model().parameters().getLast();
      Updates.copy(p.value(), Tensor.full(p.value().spec(), Double.NaN));
      double[] before = other.value().toDoubleArray();
      TrainingRun run = new TrainingRun(folder, TrainingRun.Options.steps(5), interrupts);
      String message =
          assertThrows(
                  IllegalStateException.class,
                  () -> run.train(trainer, LearningRate.constant(1e-2, 1), Map.of(), List.of()))
              .getMessage();
      assertTrue(message.startsWith("the loss became NaN at step 1"), message);
      assertFalse(Files.exists(run.checkpoint()));
      assertArrayEquals(before, other.value().toDoubleArray());
    }
  }
}
