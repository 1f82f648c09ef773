// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.NoValuesException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.UseAfterFreeException;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.Imagined;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The estimate of a step's memory beside what the pool measures. */
class MemoryEstimateTest {
  private static final TrainingRun.Saving SYNCHRONOUS = new TrainingRun.Saving(1, 0, 0, false);

  private static DiffusionTrainer trainer(TrainedModel model, int batch, int accumulate) {
    var data =
        InMemoryImageDataset.copyOf(
            new ShapesWorld(ShapesWorld.options().count(64).resolution(16)));
    Rng rng = Rng.seed(0);
    return new DiffusionTrainer(
        model,
        SchedulerConfig.ddpm(),
        LossOptions.PLAIN,
        DiffusionTrainer.UPDATE.accumulate(accumulate),
        new BatchLoader(data, batch, 4, rng, Device.CPU),
        rng,
        null);
  }

  private static TrainedModel unet() {
    return TrainedModel.of(
        new UNet2D(
            Weights.init(Rng.seed(1)),
            UNet2DConfig.builder()
                .levels(List.of(16, 32), List.of(false, true))
                .layersPerBlock(1)
                .normNumGroups(8)
                .numClassEmbeds(11)
                .build()));
  }

  private static TrainedModel dit() {
    return TrainedModel.of(
        new Dit(
            Weights.init(Rng.seed(1)),
            DitConfig.builder()
                .sampleSize(16)
                .patchSize(2)
                .imageChannels(3)
                .size(3, 2, 16)
                .classes(10)
                .build()));
  }

  /** Within a quarter below and a tenth above: kernels' packed weights and workspaces are more. */
  private static void assertNear(TrainedModel model, int batch, int accumulate) {
    CpuBackend cpu = CpuBackend.instance();
    try (DiffusionTrainer trainer = trainer(model, batch, accumulate)) {
      MemoryEstimate estimate = MemoryEstimate.of(trainer, SYNCHRONOUS);
      assertEquals(0, trainer.steps());
      long kept = cpu.memory().live() - estimate.present();
      assertTrue(kept <= 8192, "only a table of positions stays: " + kept);
      trainer.step(1e-3);
      cpu.resetPeak();
      trainer.step(1e-3);
      double measured = cpu.memory().peak();
      double ratio = estimate.peak() / measured;
      assertTrue(
          ratio > 0.75 && ratio < 1.1,
          String.format("estimated %d of %.0f: %.3f", estimate.peak(), measured, ratio));
      assertEquals(0, MemoryEstimate.of(trainer, SYNCHRONOUS).optimizer(), "it is there by now");
    }
  }

  @Test
  void ofUNet() {
    assertNear(unet(), 8, 1);
  }

  @Test
  void ofDit() {
    assertNear(dit(), 8, 1);
  }

  @Test
  void ofMicroBatches() {
    assertNear(unet(), 4, 3);
  }

  /** What only the computed step knows, and a mistake in a model, are two things. */
  @Test
  void readingImaginedValuesIsNoUseAfterFree() {
    try (Scope scope = Scope.open()) {
      Tensor large = Tensor.zeros(100, 100);
      assertThrows(
          NoValuesException.class, () -> Imagined.peakBytes(() -> large.add(1).toDoubleArray()));
      Tensor[] freed = new Tensor[1];
      Scope.run(
          () -> {
            freed[0] = large.add(1);
          });
      assertThrows(
          UseAfterFreeException.class, () -> Imagined.peakBytes(() -> freed[0].toDoubleArray()));
    }
  }

  /** Twice the batch is twice the activations. */
  @Test
  void growsWithTheBatchAndSaysWhatHelps() {
    try (DiffusionTrainer small = trainer(unet(), 2, 1);
        DiffusionTrainer large = trainer(unet(), 16, 1)) {
      MemoryEstimate few = MemoryEstimate.of(small, SYNCHRONOUS);
      MemoryEstimate many = MemoryEstimate.of(large, TrainingRun.Saving.DEFAULT);
      assertTrue(many.step() > 3 * few.step(), few.step() + " and " + many.step());
      assertTrue(many.copy() > 0 && few.copy() == 0);
      few.requireFits(few.peak() - few.present());
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> few.requireFits(few.peak() - few.present() - 1))
              .getMessage();
      for (String word : List.of("--batch", "--accumulate", "--precision", "left")) {
        assertTrue(message.contains(word), message);
      }
      assertTrue(CpuBackend.instance().available() > 0, "Linux tells");
    }
  }
}
