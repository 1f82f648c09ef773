// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.train.VaeTrainer;
import io.sfumato.models.vae.Vae;
import io.sfumato.models.vae.VaeConfig;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Trains a variational autoencoder on pictures, class-conditional if there are several classes, and
 * draws samples and reconstructions.
 */
@Command(
    name = "train-vae",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a variational autoencoder (Kingma and Welling 2013). Writes samples.png,"
            + " samples.safetensors, reconstructions.png, loss.png, loss.csv and a checkpoint,"
            + " which Interpolate reads.")
public final class TrainVae implements Callable<Integer>, Checked {
  private static final int EVALUATED = 64;

  @Mixin private final ExampleOptions options = new ExampleOptions();

  @Option(names = "--architecture", description = "conv or mlp.", defaultValue = "conv")
  private String architecture = "conv";

  @Option(
      names = "--likelihood",
      description = "bernoulli, or gaussian with the --variance.",
      defaultValue = "bernoulli")
  private String likelihood = "bernoulli";

  @Option(
      names = "--variance",
      description = "Of a Gaussian: fixed (0.1 squared), shared or predicted (both learned).",
      defaultValue = "shared")
  private String variance = "shared";

  @Option(names = "--latent-dim", description = "Dimensions of z.", defaultValue = "16")
  private int latentDim;

  @Option(names = "--beta", description = "Weight of the KL divergence.", defaultValue = "1")
  private double beta;

  private TrainVae() {}

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
    return Program.run(new TrainVae(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        architecture.equals("conv") || architecture.equals("mlp"),
        "--architecture must be conv or mlp; got " + architecture);
    problems.require(
        likelihood.equals("bernoulli") || likelihood.equals("gaussian"),
        "--likelihood must be bernoulli or gaussian; got " + likelihood);
  }

  @Override
  public Integer call() {
    try (Workbench bench = options.open()) {
      Batches loader = bench.data().loader(architecture.equals("conv") ? 4 : 1);
      VaeConfig config = config(bench, loader);
      TrainingRun run = bench.run();
      Recipe recipe = bench.recipe(VaeTrainer.UPDATE, 2e-3, 50);
      run.stateToResume(bench.settings(config.toMap(), recipe));
      Vae vae = new Vae(Weights.init(bench.rng("weights")).on(bench.device()), config);
      bench.describe(vae.parameterCount());
      try (VaeTrainer trainer =
          new VaeTrainer(vae, recipe.update(), loader, bench.rng("training"))) {
        bench.preview(run, trainer, sampler(vae), batch -> again(vae, batch));
        if (!bench.train(run, trainer, recipe, config.toMap())
            || !trainer.average(() -> sample(bench, vae))) {
          return Interrupts.EXIT_CODE;
        }
        if (bench.leads()) {
          trainer.average(() -> evaluate(bench, vae, loader.whole()));
        }
      }
      say(
          "wrote samples.png, samples.safetensors, reconstructions.png, loss.png, loss.csv and"
              + " checkpoint to %s",
          bench.out());
      return 0;
    }
  }

  private VaeConfig config(Workbench bench, Batches loader) {
    VaeConfig.Builder builder =
        architecture.equals("conv")
            ? VaeConfig.builder().conv(List.of(32, 64), 256)
            : VaeConfig.builder().mlp(512, 256);
    builder = likelihood.equals("bernoulli") ? builder.bernoulli() : builder.gaussian(variance);
    return builder
        .image(bench.images().channels(), loader.height(), loader.width())
        .latentDim(latentDim)
        .beta(beta)
        .numClasses(bench.classes() > 1 ? bench.classes() : null)
        .build();
  }

  private static boolean sample(Workbench bench, Vae vae) {
    return bench.sample(1, sampler(vae));
  }

  private static Workbench.Sampler sampler(Vae vae) {
    return (labels, rng, done) -> {
      Tensor pictures = vae.sample(labels.length, labels(vae, labels), rng);
      done.accept(labels.length);
      return toSymmetric(pictures);
    };
  }

  private static @Nullable Tensor labels(Vae vae, long[] labels) {
    return vae.config().numClasses() == null ? null : Tensor.of(labels, labels.length);
  }

  /** [0, 1] to [-1, 1]. */
  private static Tensor toSymmetric(Tensor pictures) {
    return Num.affine(pictures, 2, -1);
  }

  private static @Nullable Tensor labels(Vae vae, Batches.Batch batch) {
    return vae.config().numClasses() == null ? null : batch.labels();
  }

  /** What z keeps of pictures. */
  private static Tensor again(Vae vae, Batches.Batch batch) {
    Tensor y = labels(vae, batch);
    return toSymmetric(vae.decode(vae.encode(VaeTrainer.toUnit(batch.images()), y).mean(), y));
  }

  /** Pictures above what z keeps of them, and how probable the model finds them. */
  private static double evaluate(Workbench bench, Vae vae, Batches loader) {
    try (Scope scope = Scope.open()) {
      Batches.Batch batch = loader.batch(0);
      int n = Math.min(10, batch.images().dim(0));
      Batches.Batch some =
          new Batches.Batch(
              batch.images().slice(0, 0, n),
              batch.labels().slice(0, 0, n),
              batch.shown().subList(0, n));
      Tensor pairs = Shaping.concat(0, some.images(), again(vae, some));
      SampleSheet.picture(
          bench.out().resolve("reconstructions.png"),
          SampleSheet.toPixels(pairs, bench.images().height(), bench.images().width()),
          PreviewSheet.PAIR);
      Tensor bound =
          vae.importanceWeightedBound(
              VaeTrainer.toUnit(batch.images()),
              labels(vae, batch),
              EVALUATED,
              bench.rng("evaluation"));
      double mean = Num.mean(bound).item();
      say(
          "log p(x) of %d training pictures: at least %.1f nats each (%d samples of z)",
          batch.images().dim(0), mean, EVALUATED);
      return mean;
    }
  }
}
