// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Program;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.CodePriorTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.train.VqVaeTrainer;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.CodePriorConfig;
import io.sfumato.models.vqvae.CodeSampler;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.models.vqvae.VqVaeConfig;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Shaping;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Trains a VQ-VAE on pictures, then a Transformer on the codes it gives them, and draws new
 * pictures of each class.
 */
@Command(
    name = "train-vq-vae",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a VQ-VAE (a third of the time), then a class-conditional Transformer over its"
            + " codes, and samples it. Writes reconstructions.png, samples.png,"
            + " samples.safetensors, and for the Transformer loss.png, loss.csv and a checkpoint;"
            + " the VQ-VAE's are in the folder autoencoder.")
public final class TrainVqVae implements Callable<Integer> {
  private static final double AUTOENCODER_SHARE = 1 / 3.0;
  private static final int PICTURES = 8;

  @Mixin private final ExampleOptions options = new ExampleOptions();

  @Option(
      names = "--guidance",
      description = "Strength of classifier-free guidance; 1 is none.",
      defaultValue = "1.5")
  private double guidance;

  @Option(
      names = "--temperature",
      description = "Of the drawn codes; 0 takes the likeliest.",
      defaultValue = "1")
  private double temperature;

  @Option(
      names = "--top-k",
      description = "Draw from so many of the likeliest codes; 0 for all.",
      defaultValue = "0")
  private int topK;

  @Option(
      names = "--top-p",
      description = "Draw from the likeliest codes of together this probability; 1 for all.",
      defaultValue = "0.95")
  private double topP;

  private TrainVqVae() {}

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
    return Program.run(new TrainVqVae(), args);
  }

  @Override
  public Integer call() {
    var sampling = new CodeSampler.Options(guidance, temperature, topK, topP);
    try (Workbench bench = options.open()) {
      VqVaeConfig config =
          VqVaeConfig.of(bench.images().channels()).widths(64, 32).codebook(128, 32);
      Batches loader = bench.data().loader(config.factor());
      VqVae codes = new VqVae(Weights.init(bench.rng("vqvae")).on(bench.device()), config);
      bench.describe(codes.parameterCount());
      Recipe recipe = bench.recipe(VqVaeTrainer.UPDATE, 2e-3, 50).withoutGroups(); // the prior's
      try (VqVaeTrainer trainer =
          new VqVaeTrainer(codes, recipe.update(), loader, bench.rng("codes"))) {
        TrainingRun run = bench.stage("autoencoder", AUTOENCODER_SHARE);
        bench.preview(run, trainer, PreviewSheet.Reconstruction.of(x -> again(codes, x)));
        if (!bench.train(run, trainer, recipe, config.toMap())) {
          return Interrupts.EXIT_CODE;
        }
        return trainer.average(
            () -> {
              if (bench.leads()) {
                describeCodes(bench, codes, loader.whole());
              }
              return prior(bench, codes, trainer.steps(), loader, sampling);
            });
      }
    }
  }

  private int prior(
      Workbench bench, VqVae codes, long steps, Batches loader, CodeSampler.Options sampling) {
    int factor = codes.config().factor();
    CodePriorConfig config =
        new CodePriorConfig(
            codes.config().codes(),
            loader.height() / factor,
            loader.width() / factor,
            bench.classes(),
            128,
            4,
            4,
            "learned",
            0);
    CodePrior prior = new CodePrior(Weights.init(bench.rng("prior")).on(bench.device()), config);
    say("%,d parameters of the prior", prior.parameterCount());
    Recipe recipe = bench.recipe(CodePriorTrainer.UPDATE, 1e-3, 100);
    Workbench.Sampler sampler =
        (labels, rng, done) -> {
          Tensor classes = Tensor.of(labels, labels.length).to(bench.device());
          Tensor maps = CodeSampler.sample(prior, classes, sampling, rng, done);
          return codes.decode(maps.to(bench.device()));
        };
    try (CodePriorTrainer trainer =
        new CodePriorTrainer(prior, codes, recipe.update(), loader, bench.rng("training"))) {
      TrainingRun run = bench.lastStage(1 - AUTOENCODER_SHARE);
      String model = config.toMap() + " of codes at step " + steps;
      bench.preview(run, trainer, sampler);
      if (!bench.train(run, trainer, recipe, model)
          || !trainer.average(() -> bench.sample(config.length(), sampler))) {
        return Interrupts.EXIT_CODE;
      }
    }
    say(
        "wrote reconstructions.png, samples.png, samples.safetensors, loss.png, loss.csv,"
            + " checkpoint and autoencoder to %s",
        bench.out());
    return 0;
  }

  private static Tensor again(VqVae codes, Tensor pictures) {
    return codes.decode(codes.encode(pictures));
  }

  /** Writes pictures above their reconstructions, and says how many codes they use. */
  private static void describeCodes(Workbench bench, VqVae codes, Batches loader) {
    try (Scope scope = Scope.open()) {
      Tensor batch = loader.batch(0).images();
      Tensor maps = codes.encode(batch);
      say(
          "the codes of %d pictures are spread as over %.0f of %d",
          batch.dim(0), codes.quantizer().perplexity(maps).item(), codes.config().codes());
      Tensor some = batch.slice(0, 0, Math.min(PICTURES, batch.dim(0)));
      Tensor pairs = Shaping.concat(0, some, again(codes, some));
      SampleSheet.picture(
          bench.out().resolve("reconstructions.png"),
          SampleSheet.toPixels(pairs, bench.images().height(), bench.images().width()),
          PreviewSheet.PAIR);
    }
  }
}
