// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.diffusion.Ddim;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.Sampler;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.diffusion.Steps;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Trains a class-conditional diffusion model on pictures and samples it. Without {@code --data} it
 * draws its own: shapes of many colours, sizes and places.
 */
@Command(
    name = "train-ddpm",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a class-conditional diffusion model and samples it. Writes samples.png,"
            + " samples.safetensors, loss.png, loss.csv and a checkpoint in diffusers layout.")
public final class TrainDdpm implements Callable<Integer>, Checked {
  @Mixin private final ExampleOptions options = new ExampleOptions().recordingSteps();

  @Option(names = "--sampler", description = "ddpm or ddim.", defaultValue = "ddpm")
  private String sampler = "ddpm";

  @Mixin private final GuidedDraw drawing = new GuidedDraw(1.25);

  private TrainDdpm() {}

  /**
   * Runs the program and exits: 0 when done, 1 after a failure, 2 after wrong options or input, 130
   * when interrupted (the checkpoint is kept).
   *
   * @param args command-line options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs the program and returns its exit code. */
  static int run(String... args) {
    return Program.run(new TrainDdpm(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        sampler.equals("ddim") || sampler.equals("ddpm"),
        "--sampler must be ddim or ddpm; got " + sampler);
  }

  @Override
  public Integer call() {
    try (Workbench bench = options.open()) {
      TrainingRun run = bench.run();
      UNet2DConfig config = config(bench.images());
      Recipe recipe = bench.recipe(DiffusionTrainer.UPDATE, 2e-3, 50);
      run.stateToResume(bench.settings(config.toMap(), recipe));
      Batches loader = bench.data().loader(4);
      UNet2D model = new UNet2D(Weights.init(bench.rng("weights")).on(bench.device()), config);
      bench.describe(model.parameterCount());
      try (DiffusionTrainer trainer =
          new DiffusionTrainer(
              TrainedModel.of(model),
              scheduler(),
              LossOptions.PLAIN,
              recipe.update(),
              loader,
              bench.rng("training"),
              null)) {
        bench.preview(
            run,
            trainer,
            drawing.sampler(bench, trainer, loader, p -> draw(sampler(), drawing.steps(), p)));
        if (!bench.train(run, trainer, recipe, config.toMap()) || !sample(bench, trainer, loader)) {
          return Interrupts.EXIT_CODE;
        }
      }
      say(
          "wrote samples.png, samples.safetensors, loss.png, loss.csv and checkpoint to %s",
          bench.out());
      return 0;
    }
  }

  static UNet2DConfig config(ImageDataset images) {
    return UNet2DConfig.builder()
        .sampleSize(images.height())
        .imageChannels(images.channels())
        .levels(List.of(32, 64, 64), List.of(false, false, true))
        .layersPerBlock(1)
        .attentionHeadDim(16)
        .normNumGroups(8)
        .numClassEmbeds(images.classNames().size() + 1)
        .build();
  }

  private boolean sample(Workbench bench, DiffusionTrainer trainer, Batches loader) {
    Sampler drawn = sampler();
    return drawing.sample(bench, trainer, loader, p -> draw(drawn, drawing.steps(), p));
  }

  static Tensor draw(Sampler sampler, int steps, GuidedDraw.Parts p) {
    return sampler.sample(p.denoiser(), p.noise(), Steps.of(steps), p.source(), p.listener());
  }

  /** DDPM, or DDIM with steps that suit guided models: ε from the limited x₀, exact steps. */
  private Sampler sampler() {
    SchedulerConfig config = scheduler();
    return sampler.equals("ddpm")
        ? Sampler.of(config)
        : Ddim.of(config.as("DDIMScheduler")).clippedEpsilon(true).exactSteps(true);
  }

  static SchedulerConfig scheduler() {
    return SchedulerConfig.ddpm()
        .withBetas("squaredcos_cap_v2")
        .with(Prediction.V_PREDICTION)
        .withSpacing("trailing");
  }
}
