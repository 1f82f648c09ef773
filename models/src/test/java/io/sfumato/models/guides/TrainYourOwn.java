// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.guides;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.ImageFolder;
import io.sfumato.models.data.ImageGrid;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.pipeline.Backbone;
import io.sfumato.models.pipeline.Conditioner;
import io.sfumato.models.pipeline.GenerationRequest;
import io.sfumato.models.pipeline.LatentDiffusion;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.SampleSheet;
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

/** The program of the guide "Train your own model". */
final class TrainYourOwn {
  private TrainYourOwn() {}

  /** The folder of pictures, the folder to write to, and the number of steps. */
  public static void main(String[] args) {
    Path pictures = Path.of(args[0]);
    Path out = Path.of(args[1]);
    int steps = Integer.parseInt(args[2]);

    // @start region="data"
    Rng rng = Rng.seed(0);
    ImageDataset images = ImageFolder.open(pictures, 16); // RGB, 16 x 16 pixels
    BatchLoader loader = new BatchLoader(images, 16, 2, rng.fork("batches"), Device.CPU);
    System.out.println(images.size() + " pictures of " + images.classNames());
    // @end

    // @start region="model"
    int classes = images.classNames().size();
    UNet2DConfig config =
        UNet2DConfig.builder()
            .sampleSize(16)
            .imageChannels(3)
            .levels(List.of(16, 32), List.of(false, true)) // channels, attention
            .layersPerBlock(1)
            .attentionHeadDim(16)
            .normNumGroups(8)
            .numClassEmbeds(classes + 1) // the last one: no class
            .build();
    SchedulerConfig scheduler =
        SchedulerConfig.ddpm()
            .withBetas("squaredcos_cap_v2")
            .with(Prediction.V_PREDICTION)
            .withSpacing("trailing");
    UNet2D unet = new UNet2D(Weights.init(rng.fork("weights")), config);
    System.out.printf("%,d parameters%n", unet.parameterCount());
    // @end

    // @start region="loop"
    var denoiser = new Denoiser(unet::call, new NoiseSchedule(scheduler));
    try (var optimizer = new AdamW(unet.parameters(), AdamW.options().learningRate(2e-3))) {
      double sum = 0;
      for (int step = 0; step < steps; step++) {
        Rng draw = rng.fork("training").step(step);
        try (Scope scope = Scope.open()) { // all tensors made in here are freed at its end
          var batch = loader.batch(step);
          Tensor labels = step % 10 == 9 ? none(classes, 16) : batch.labels();
          var result =
              Autograd.valueAndGrad(
                  unet.parameters(), () -> denoiser.loss(batch.images(), labels, draw));
          result.gradients().clipByNorm(1);
          optimizer.step(result.gradients());
          sum += result.value().item();
        }
        if ((step + 1) % 20 == 0) {
          System.out.printf("step %d: loss %.3f%n", step + 1, sum / 20);
          sum = 0;
        }
      }
    }
    // @end

    // @start region="save"
    var condition = new Conditioner.Classes(images.classNames(), classes);
    try (var trained = new LatentDiffusion(null, Backbone.of(unet), condition, scheduler)) {
      trained.save(out.resolve("model"));
    }
    // @end

    draw(out);
    run(images, loader, config, scheduler, out.resolve("run"));
  }

  // @start region="run"
  static void run(
      ImageDataset images,
      BatchLoader loader,
      UNet2DConfig config,
      SchedulerConfig scheduler,
      Path folder) {
    Rng rng = Rng.seed(0);
    var unet = new UNet2D(Weights.init(rng.fork("weights")), config);
    try (var trainer = new DiffusionTrainer(unet, scheduler, loader, rng.fork("training"));
        var interrupts = Interrupts.catchSignals()) {
      var settings = Map.of("model", config.toString()); // must be equal to go on
      var options = TrainingRun.Options.steps(4).checkpointSteps(2).events(true);
      new TrainingRun(folder, options, interrupts)
          .train(trainer, LearningRate.cosine(2e-3, 50), settings, images.classNames());
    }
  }

  // @end

  // @start region="none"
  /** The label that stands for "no class", so that the model learns to draw without one, too. */
  static Tensor none(int label, int count) {
    return Tensor.of(new long[] {label}, 1).expand(count).contiguous();
  }

  // @end

  // @start region="draw"
  static void draw(Path out) {
    try (Scope scope = Scope.open();
        LatentDiffusion model = LatentDiffusion.open(out.resolve("model"))) {
      Tensor drawn =
          model.generate(
              GenerationRequest.of(List.of("circle", "square", "star"))
                  .each(4)
                  .guidance(1.5)
                  .steps(20)
                  .seed(1));
      byte[] pixels = SampleSheet.toPixels(drawn, 16, 16).toByteArray();
      ImageGrid.write(
          out.resolve("drawn.png"), pixels, 3, 16, 16, ImageGrid.options().columns(4).scale(4));
    }
  }
  // @end
}
