// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.diffusion.Ddim;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.Sampler;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.diffusion.Steps;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Trains a class-conditional diffusion transformer on the pixels of pictures and samples it. */
@Command(
    name = "train-dit",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a class-conditional diffusion transformer on pixels and samples it. Writes"
            + " samples.png, samples.safetensors, loss.png, loss.csv and a checkpoint in diffusers"
            + " layout.")
public final class TrainDit implements Callable<Integer>, Checked {
  @Mixin private final ExampleOptions options = new ExampleOptions().recordingSteps();

  @Mixin private final DitOptions size = new DitOptions();

  @Option(
      names = "--prediction",
      description = "What the network predicts: v_prediction, epsilon or sample.",
      defaultValue = "v_prediction")
  private String prediction = "v_prediction";

  @Option(names = "--sampler", description = "ddpm or ddim.", defaultValue = "ddpm")
  private String sampler = "ddpm";

  @Option(
      names = "--learn-variance",
      description = "Whether the network learns the variance of DDPM's steps, too.")
  private boolean learnVariance;

  @Mixin private final GuidedDraw drawing = new GuidedDraw(2);

  private TrainDit() {}

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
    return Program.run(new TrainDit(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        sampler.equals("ddim") || sampler.equals("ddpm"),
        "--sampler must be ddim or ddpm; got " + sampler);
    problems.require(
        !learnVariance || sampler.equals("ddpm"), "--learn-variance needs --sampler ddpm");
    problems.require(
        !learnVariance || !options.updating().graph(),
        "--cuda-graph: the loss of --learn-variance needs numbers of the host");
  }

  @Override
  public Integer call() {
    SchedulerConfig scheduler = scheduler();
    try (Workbench bench = options.open()) {
      TrainingRun run = bench.run();
      Batches loader = bench.data().loader(size.patch());
      DitConfig config = size.config(loader, bench.images(), learnVariance);
      String what = config.toMap() + ", prediction " + prediction;
      Recipe recipe =
          bench.recipe(DiffusionTrainer.UPDATE, DitOptions.LEARNING_RATE, DitOptions.WARM_UP);
      run.stateToResume(bench.settings(what, recipe));
      Dit model = new Dit(Weights.init(bench.rng("weights")).on(bench.device()), config);
      bench.describe(model.parameterCount());
      try (DiffusionTrainer trainer =
          new DiffusionTrainer(
              TrainedModel.of(model),
              scheduler,
              LossOptions.PLAIN,
              recipe.update(),
              loader,
              bench.rng("training"),
              null)) {
        bench.preview(run, trainer, drawing.sampler(bench, trainer, loader, this::draw));
        if (!bench.train(run, trainer, recipe, what)
            || !drawing.sample(bench, trainer, loader, this::draw)) {
          return Interrupts.EXIT_CODE;
        }
      }
      say(
          "wrote samples.png, samples.safetensors, loss.png, loss.csv and checkpoint to %s",
          bench.out());
      return 0;
    }
  }

  private SchedulerConfig scheduler() {
    Prediction kind = Prediction.parse(prediction);
    require(kind != Prediction.FLOW, "--prediction: flows are trained by TrainFlowMatching");
    return SchedulerConfig.ddpm()
        .withBetas("squaredcos_cap_v2")
        .with(kind)
        .withSpacing("trailing")
        .with("variance_type", learnVariance ? "learned_range" : "fixed_small");
  }

  /** DDPM, or DDIM with steps that suit guided models: ε from the limited x₀, exact steps. */
  private Sampler sampler() {
    return sampler.equals("ddpm")
        ? Sampler.of(scheduler())
        : Ddim.of(scheduler().as("DDIMScheduler")).clippedEpsilon(true).exactSteps(true);
  }

  private Tensor draw(GuidedDraw.Parts p) {
    return sampler()
        .sample(p.denoiser(), p.noise(), Steps.of(drawing.steps()), p.source(), p.listener());
  }
}
