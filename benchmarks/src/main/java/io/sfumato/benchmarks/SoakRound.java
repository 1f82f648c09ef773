// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.diffusion.Listener;
import io.sfumato.models.diffusion.NoiseSource;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.Sampler;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.diffusion.Steps;
import io.sfumato.models.train.AdapterTrainer;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.LoaderOptions;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * What people do with the library, once around: a run begins or goes on from its checkpoint, reads
 * pictures ahead, trains, validates and writes checkpoints beside it; an adapter is attached,
 * trained, saved and taken off; pictures are drawn.
 */
final class SoakRound {
  private static final int ROUNDS = 10; // of one run; a run reads again what it has written
  private static final int STEPS = 30;
  private static final int ADAPTER_STEPS = 10;
  private static final int SAMPLING_STEPS = 12;
  private static final int BATCH = 16;
  private static final Map<String, String> SETTINGS = Map.of("soak", "1");

  private final Path folder;
  private final Interrupts interrupts;
  private final InMemoryImageDataset images;

  SoakRound(Path folder, Interrupts interrupts) {
    this.folder = folder;
    this.interrupts = interrupts;
    this.images =
        InMemoryImageDataset.copyOf(
            new ShapesWorld(ShapesWorld.options().plain(true).resolution(16)));
  }

  /**
   * Does one round.
   *
   * @param round from 0
   * @throws Programs.Refusal if a sample is not finite
   */
  void run(int round) {
    Rng rng = Rng.seed(round);
    LoaderOptions reading =
        LoaderOptions.of(BATCH)
            .unit(4)
            .augmentations(Augmentations.parse(List.of("flip")))
            .ahead(2);
    UNet2D model = new UNet2D(Weights.init(rng.fork("weights")), config());
    try (BatchLoader loader = new BatchLoader(images, reading, rng.fork("data"), Device.CPU);
        BatchLoader held = new BatchLoader(images, reading, rng.fork("held"), Device.CPU);
        DiffusionTrainer trainer =
            new DiffusionTrainer(model, scheduler(), loader, rng.fork("training"))) {
      TrainingRun.Options options =
          TrainingRun.Options.steps(STEPS * (round % ROUNDS + 1))
              .checkpointSteps(STEPS / 3)
              .watching(new TrainingRun.Watching(STEPS / 2, null, 0, true));
      new TrainingRun(folder, options.resume(round % ROUNDS > 0), interrupts)
          .validation(held, 1)
          .train(trainer, LearningRate.constant(1e-3, 1), SETTINGS, images.classNames());
      adapt(model, trainer, loader, rng);
      trainer.average(() -> draw(trainer, rng));
    }
  }

  private void adapt(UNet2D model, DiffusionTrainer trainer, BatchLoader loader, Rng rng) {
    try (AdapterSet adapter =
            AdapterSet.attach(model, Targets.glob("**.to_*"), Lora.rank(4), rng.fork("adapter"));
        AdapterTrainer tuner =
            new AdapterTrainer(adapter, trainer.denoiser(), loader, rng.fork("tuning"))) {
      new TrainingRun(
              folder.resolve("adapter"), TrainingRun.Options.steps(ADAPTER_STEPS), interrupts)
          .train(tuner, LearningRate.constant(1e-3, 1), SETTINGS, images.classNames());
    }
  }

  private boolean draw(DiffusionTrainer trainer, Rng rng) {
    try (Scope scope = Scope.open()) {
      Tensor noise = rng.fork("start").normal(BATCH, images.channels(), 16, 16);
      Tensor labels = Tensor.of(new long[BATCH], BATCH);
      Tensor samples =
          Sampler.of(scheduler())
              .sample(
                  trainer.denoiser().given(labels),
                  noise,
                  Steps.of(SAMPLING_STEPS),
                  NoiseSource.of(rng.fork("noise")),
                  Listener.NONE);
      for (double value : samples.toDoubleArray()) {
        if (!Double.isFinite(value)) {
          throw new Programs.Refusal("a sample is not finite");
        }
      }
      return true;
    }
  }

  private UNet2DConfig config() {
    return UNet2DConfig.builder()
        .sampleSize(16)
        .imageChannels(images.channels())
        .levels(List.of(32, 64), List.of(false, true))
        .layersPerBlock(1)
        .attentionHeadDim(16)
        .normNumGroups(8)
        .numClassEmbeds(images.classNames().size() + 1)
        .build();
  }

  private static SchedulerConfig scheduler() {
    return SchedulerConfig.ddpm().with(Prediction.V_PREDICTION);
  }
}
