// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.gan.Gan;
import io.sfumato.models.gan.GanConfig;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Losses and updates are compared with PyTorch in GoldenGanTest. */
class GanTrainerTest {
  @TempDir Path folder;

  private static GanTrainer trainer(GanConfig.Builder config, GanOptions options) {
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(64).resolution(8)));
    GanConfig sized =
        config.image(3, 8, 8).latentDim(4).numClasses(data.classNames().size()).build();
    Rng rng = Rng.seed(3);
    return new GanTrainer(
        new Gan(Weights.init(rng), sized),
        options,
        new BatchLoader(data, 8, 4, rng, Device.CPU),
        rng);
  }

  private static GanConfig.Builder small() {
    return GanConfig.builder().dcgan(List.of(16, 8), List.of(8, 16));
  }

  private static GanTrainer trainer() {
    return trainer(small().spectralNorm(true), GanOptions.of(GanLoss.HINGE).r1(1, 2));
  }

  /** State and losses of a few steps. */
  private static Map<String, double[]> trained(int steps) {
    try (GanTrainer trainer = trainer()) {
      Map<String, double[]> result = new TreeMap<>();
      double[] losses = new double[steps];
      for (int i = 0; i < steps; i++) {
        losses[i] = trainer.step(1e-3).loss();
      }
      result.put("losses", losses);
      trainer.gan().stateDict().forEach((name, t) -> result.put(name, t.toDoubleArray()));
      return result;
    }
  }

  @Test
  void trainingDoesNotDependOnTheNumberOfThreads() {
    int threads = Parallel.threads();
    List<Map<String, double[]>> results = new ArrayList<>();
    try {
      for (int n : new int[] {1, 2, 3, 7}) {
        Parallel.setThreads(n);
        results.add(trained(3));
      }
    } finally {
      Parallel.setThreads(threads);
    }
    for (Map<String, double[]> other : results) {
      results
          .getFirst()
          .forEach((name, values) -> assertArrayEquals(values, other.get(name), name));
    }
  }

  @Test
  void aResumedRunIsTheSame() throws IOException {
    double[] whole = new double[4];
    try (GanTrainer trainer = trainer()) {
      for (int i = 0; i < 4; i++) {
        whole[i] = trainer.step(1e-3).loss();
        if (i == 1) {
          trainer.save(Files.createDirectories(folder.resolve("two")));
        }
      }
    }
    try (GanTrainer trainer = trainer()) {
      trainer.restore(folder.resolve("two"), 2);
      assertArrayEquals(
          new double[] {whole[2], whole[3]},
          new double[] {trainer.step(1e-3).loss(), trainer.step(1e-3).loss()});
    }
  }

  @Test
  void theAverageIsInTheModelOnlyWhileItIsAskedForAndSavedFolderHasIt() throws IOException {
    try (GanTrainer trainer = trainer();
        Scope scope = Scope.open()) {
      for (int i = 0; i < 5; i++) {
        trainer.step(1e-2);
      }
      Gan gan = trainer.gan();
      Tensor z = Rng.seed(5).normal(3, 4);
      Tensor y = Tensor.of(new long[] {0, 1, 2}, 3);
      double[] raw = gan.generator().call(z, y).toDoubleArray();
      double[] averaged = trainer.average(() -> gan.generator().call(z, y)).toDoubleArray();
      assertArrayEquals(raw, gan.generator().call(z, y).toDoubleArray());
      assertTrue(distance(raw, averaged) > 1e-3);
      trainer.save(Files.createDirectories(folder.resolve("model")));
      try (Gan saved = Gan.open(folder.resolve("model"))) {
        assertArrayEquals(averaged, saved.generator().call(z, y).toDoubleArray());
      }
    }
  }

  private static double distance(double[] a, double[] b) {
    double most = 0;
    for (int i = 0; i < a.length; i++) {
      most = Math.max(most, Math.abs(a[i] - b[i]));
    }
    return most;
  }

  @Test
  void theAveragesStatisticsAreThoseOfItsOwnActivations() {
    // With weights that jump, statistics of the last weights would be far from the average's.
    try (GanTrainer trainer = trainer();
        Scope scope = Scope.open()) {
      for (int i = 0; i < 5; i++) {
        trainer.step(5e-2);
      }
      Gan gan = trainer.gan();
      Tensor z = Rng.seed(5).normal(256, 4);
      Tensor y = Rng.seed(6).integers(0, 10, 256);
      Tensor running = trainer.average(() -> gan.generator().call(z, y));
      Tensor batch =
          trainer.average(
              () -> io.sfumato.models.nn.Module.training(() -> gan.generator().call(z, y)));
      double error = Num.mean(Num.abs(running.sub(batch))).item();
      assertTrue(error < 0.1, "mean difference of pixels: " + error);
    }
  }

  @Test
  void memoryStaysConstant() {
    CpuBackend cpu = CpuBackend.instance();
    try (GanTrainer trainer =
        trainer(small(), GanOptions.of(GanLoss.WGAN_GP).discriminator(2, 1))) {
      for (int i = 0; i < 5; i++) {
        trainer.step(1e-3);
      }
      cpu.resetPeak();
      trainer.step(1e-3);
      MemoryStats early = cpu.memory();
      for (int i = 0; i < 100; i++) {
        trainer.step(1e-3);
      }
      assertEquals(early, cpu.memory());
    }
  }

  @Test
  void theDiscriminatorLearnsToTellAndTheGeneratorToFoolIt() {
    try (GanTrainer trainer = trainer(small(), GanOptions.of(GanLoss.NON_SATURATING));
        Scope scope = Scope.open()) {
      Tensor real = Rng.seed(7).uniform(8, 3, 8, 8);
      Tensor y = Tensor.of(new long[8], 8);
      Tensor z = Rng.seed(8).normal(8, 4);
      Tensor mix = Rng.seed(9).uniform(8, 1, 1, 1);
      double first = trainer.discriminatorStep(real, y, z, mix, 1e-3);
      double last = first;
      for (int i = 0; i < 30; i++) {
        last = trainer.discriminatorStep(real, y, z, mix, 1e-3);
      }
      assertTrue(last < 0.5 * first, first + " to " + last);
      first = trainer.generatorStep(y, z, 1e-3);
      for (int i = 0; i < 60; i++) {
        last = trainer.generatorStep(y, z, 1e-3);
      }
      assertTrue(last < 0.5 * first, first + " to " + last);
    }
  }

  @Test
  void aLossThatIsNotFiniteEndsTheRunAndLeavesTheWeights() {
    try (GanTrainer trainer = trainer();
        Interrupts interrupts = Interrupts.catchSignals();
        Scope scope = Scope.open()) {
      Parameter p = trainer.gan().discriminator().parameters().getLast();
      Updates.copy(p.value(), Tensor.full(p.value().spec(), Double.NaN));
      Parameter other = trainer.gan().generator().parameters().getFirst();
      double[] before = other.value().toDoubleArray();
      TrainingRun run = new TrainingRun(folder, TrainingRun.Options.steps(5), interrupts);
      String message =
          assertThrows(
                  IllegalStateException.class,
                  () -> run.train(trainer, LearningRate.constant(1e-3, 1), Map.of(), List.of()))
              .getMessage();
      assertTrue(message.startsWith("the loss became NaN at step 1"), message);
      assertFalse(Files.exists(run.checkpoint()));
      assertArrayEquals(before, other.value().toDoubleArray());
    }
  }

  @Test
  void optionsThatDoNotFitAreRefusedTogether() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> new GanOptions(GanLoss.WGAN_GP, 0, -1, 0, 0, 0, 1, 0.9, 2))
            .getMessage();
    for (String part :
        List.of(
            "gradientPenalty must be positive for wgan-gp; got 0.0",
            "r1 must not be negative; got -1.0",
            "r1Interval must be positive",
            "discriminatorSteps must be positive",
            "discriminatorRate must be positive",
            "beta1 must be in [0, 1); got 1.0",
            "emaDecay must be in [0, 1]; got 2.0")) {
      assertTrue(message.contains(part), message);
    }
    GanConfig config = small().norms("batch", "batch").image(3, 8, 8).build();
    var data =
        InMemoryImageDataset.copyOf(new ShapesWorld(ShapesWorld.options().count(8).resolution(8)));
    BatchLoader loader = new BatchLoader(data, 8, 4, Rng.seed(0), Device.CPU);
    try (Gan gan = new Gan(Weights.init(Rng.seed(0)), config)) {
      GanOptions penalty = GanOptions.of(GanLoss.WGAN_GP);
      assertTrue(
          assertThrows(
                  IllegalArgumentException.class,
                  () -> new GanTrainer(gan, penalty, loader, Rng.seed(0)))
              .getMessage()
              .contains("discriminator_norm must be group or none, got batch"));
    }
  }
}
