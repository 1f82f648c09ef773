// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.gan.Gan;
import io.sfumato.models.gan.GanConfig;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.GanOptions;
import io.sfumato.models.train.GanTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Trains a generative adversarial network on pictures, class-conditional if there are several
 * classes, and draws samples.
 */
@Command(
    name = "train-gan",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a generative adversarial network (Goodfellow et al. 2014, Radford et al. 2016)."
            + " Writes samples.png, samples.safetensors, loss.png, loss.csv and a checkpoint,"
            + " which Interpolate reads.")
public final class TrainGan implements Callable<Integer>, Checked {
  private static final double LEARNING_RATE = 1e-3;

  /** R1 costs as much as the rest of an update, and does its work if it comes now and then. */
  private static final int R1_INTERVAL = 2;

  /** An average over some 200 steps: a run of minutes has a few thousand. */
  private static final double EMA_DECAY = 0.995;

  private static final Recipe.Own FALLING =
      new Recipe.Own(
          "constant, in the second half down to 0",
          (peak, warmUp) -> {
            LearningRate rising = LearningRate.constant(peak, warmUp);
            return (step, progress) -> rising.at(step, progress) * Math.min(1, 2 * (1 - progress));
          });

  @Mixin private final ExampleOptions options = new ExampleOptions();

  @Option(names = "--architecture", description = "dcgan or mlp.", defaultValue = "dcgan")
  private String architecture = "dcgan";

  @Option(
      names = "--loss",
      description = "non-saturating, hinge or wgan-gp.",
      defaultValue = "non-saturating")
  private String loss = "non-saturating";

  @Option(
      names = "--r1",
      description = "Weight of R1, the penalty on the gradient at real pictures; 0 for none.",
      defaultValue = "1")
  private double r1;

  @Option(
      names = "--spectral-norm",
      description = "Divide the discriminator's weights by their spectral norms.")
  private boolean spectralNorm;

  private TrainGan() {}

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
    return Program.run(new TrainGan(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        architecture.equals("dcgan") || architecture.equals("mlp"),
        "--architecture must be dcgan or mlp; got " + architecture);
    problems.require(
        !options.running().validates(), "--validation-steps: " + GanTrainer.NO_VALIDATION);
  }

  @Override
  public Integer call() {
    GanOptions how = GanOptions.of(GanLoss.parse(loss)).r1(r1, R1_INTERVAL).emaDecay(EMA_DECAY);
    try (Workbench bench = options.open()) {
      Batches loader = bench.data().loader(architecture.equals("dcgan") ? 4 : 1);
      GanConfig config = config(bench, loader);
      Map<String, Object> settings = new TreeMap<>(config.toMap());
      settings.put("training", how);
      TrainingRun run = bench.run();
      Recipe recipe = bench.recipe(how.update(), LEARNING_RATE, 0, FALLING);
      run.stateToResume(bench.settings(settings, recipe));
      Gan gan = new Gan(Weights.init(bench.rng("weights")).on(bench.device()), config);
      bench.describe(gan.parameterCount());
      try (GanTrainer trainer =
          new GanTrainer(gan, how, recipe.update(), loader, bench.rng("training"))) {
        bench.preview(run, trainer, sampler(bench, trainer));
        if (!bench.train(run, trainer, recipe, settings) || !sample(bench, trainer)) {
          return Interrupts.EXIT_CODE;
        }
      }
      say(
          "wrote samples.png, samples.safetensors, loss.png, loss.csv and checkpoint to %s",
          bench.out());
      return 0;
    }
  }

  private GanConfig config(Workbench bench, Batches loader) {
    GanConfig.Builder builder =
        architecture.equals("dcgan")
            ? GanConfig.builder().dcgan(List.of(64, 32), List.of(32, 64))
            : GanConfig.builder().mlp(List.of(256, 512), List.of(512, 256));
    return builder
        .image(bench.images().channels(), loader.height(), loader.width())
        .spectralNorm(spectralNorm)
        .numClasses(bench.classes() > 1 ? bench.classes() : null)
        .build();
  }

  private static boolean sample(Workbench bench, GanTrainer trainer) {
    return trainer.average(() -> bench.sample(1, sampler(bench, trainer)));
  }

  private static Workbench.Sampler sampler(Workbench bench, GanTrainer trainer) {
    return (labels, rng, done) -> {
      boolean conditional = trainer.gan().config().numClasses() != null;
      Tensor y = conditional ? Tensor.of(labels, labels.length).to(bench.device()) : null;
      Tensor pictures = trainer.gan().generator().sample(labels.length, y, rng);
      done.accept(labels.length);
      return pictures;
    };
  }
}
