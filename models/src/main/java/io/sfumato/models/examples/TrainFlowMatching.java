// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.diffusion.FlowPath;
import io.sfumato.models.diffusion.FlowSamplers;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.Network;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.dit.Dit;
import io.sfumato.models.dit.DitConfig;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.TrainedModel;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Trains a class-conditional transformer to follow a flow from noise to pictures (flow matching, as
 * in SiT), and samples it by the flow or by the stochastic process of the same marginals.
 */
@Command(
    name = "train-flow-matching",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a class-conditional transformer by flow matching on pixels and samples it. Writes"
            + " samples.png, samples.safetensors, loss.png, loss.csv and a checkpoint in diffusers"
            + " layout.")
public final class TrainFlowMatching implements Callable<Integer>, Checked {
  @Mixin private final ExampleOptions options = new ExampleOptions().recordingSteps();

  @Mixin private final DitOptions size = new DitOptions();

  @Option(
      names = "--path",
      description = "The way from noise to data: linear or gvp.",
      defaultValue = "linear")
  private String path = "linear";

  @Option(
      names = "--sampler",
      description =
          "euler or heun, which follow the flow; sde or sde-heun, which add noise on the way.",
      defaultValue = "euler")
  private String sampler = "euler";

  @Mixin private final GuidedDraw drawing = new GuidedDraw(2);

  private TrainFlowMatching() {}

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
    return Program.run(new TrainFlowMatching(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        List.of("euler", "heun", "sde", "sde-heun").contains(sampler),
        "--sampler must be euler, heun, sde or sde-heun; got " + sampler);
    problems.require(
        drawing.steps() > 1 || !sampler.startsWith("sde"),
        "--sampling-steps must be 2 or more for --sampler " + sampler);
  }

  @Override
  public Integer call() {
    FlowPath way = FlowPath.parse(path);
    SchedulerConfig scheduler = scheduler(way);
    try (Workbench bench = options.open()) {
      TrainingRun run = bench.run();
      Batches loader = bench.data().loader(size.patch());
      DitConfig config = size.config(loader, bench.images(), false);
      String what = config.toMap() + ", path " + path;
      Recipe recipe =
          bench.recipe(DiffusionTrainer.UPDATE, DitOptions.LEARNING_RATE, DitOptions.WARM_UP);
      run.stateToResume(bench.settings(what, recipe));
      Dit model = new Dit(Weights.init(bench.rng("weights")).on(bench.device()), config);
      bench.describe(model.parameterCount());
      try (DiffusionTrainer trainer =
          new DiffusionTrainer(
              TrainedModel.of(model),
              scheduler,
              LossOptions.PLAIN.path(way),
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

  /** diffusers has a scheduler of the linear path alone; another is named in the configuration. */
  private static SchedulerConfig scheduler(FlowPath way) {
    String name = "FlowMatchEulerDiscreteScheduler";
    return way == FlowPath.LINEAR
        ? SchedulerConfig.of(name)
        : new SchedulerConfig(name, Map.of("flow_path", "gvp"));
  }

  private Tensor draw(GuidedDraw.Parts p) {
    FlowPath way = FlowPath.parse(path);
    FlowSamplers.Solver solver =
        sampler.endsWith("heun") ? FlowSamplers.Solver.HEUN : FlowSamplers.Solver.EULER;
    Network network = p.denoiser().network();
    if (sampler.startsWith("sde")) {
      FlowSamplers.SdeOptions options = FlowSamplers.SdeOptions.of(way).solver(solver);
      return FlowSamplers.sde(
          network, p.noise(), p.condition(), drawing.steps(), options, p.source(), p.listener());
    }
    return FlowSamplers.ode(
        network, p.noise(), p.condition(), drawing.steps(), solver, way, p.listener());
  }
}
