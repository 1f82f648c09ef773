// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.train.AutoencoderTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.models.vae.AutoencoderLoss;
import io.sfumato.models.vae.PatchDiscriminator;
import io.sfumato.models.vae.VQModel;
import io.sfumato.models.vae.VQModelConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Trains the first stage of latent diffusion, an autoencoder with KL or with a codebook, and
 * reconstructs pictures with it.
 */
@Command(
    name = "train-autoencoder",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains an autoencoder of latent diffusion and reconstructs pictures of each class. Writes"
            + " samples.png and samples.safetensors (the reconstructions), loss.png, loss.csv and"
            + " a checkpoint, in it vae/ in diffusers layout.")
public final class TrainAutoencoder implements Callable<Integer>, Checked {
  private static final List<Integer> LEVELS = List.of(32, 64, 64);

  @Mixin private final ExampleOptions options = new ExampleOptions();

  @Option(names = "--kind", description = "kl or vq.", defaultValue = "kl")
  private String kind = "kl";

  @Option(names = "--kl-weight", description = "Weight of the divergence.", defaultValue = "1e-6")
  private double klWeight;

  @Option(names = "--codes", description = "Codes of kind vq.", defaultValue = "256")
  private int codes;

  @Option(names = "--pixels", description = "l1 or mse.", defaultValue = "l1")
  private String pixels = "l1";

  @Option(
      names = "--discriminator-start",
      description = "Step at which a discriminator of patches begins; there is none if absent.")
  private @Nullable Integer discriminatorStart;

  private TrainAutoencoder() {}

  /** A model, and how it is trained and used. */
  private record Parts(
      AutoencoderTrainer trainer, UnaryOperator<Tensor> reconstruct, long parameters) {}

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
    return Program.run(new TrainAutoencoder(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        kind.equals("kl") || kind.equals("vq"), "--kind must be kl or vq; got " + kind);
    problems.require(
        pixels.equals("l1") || pixels.equals("mse"), "--pixels must be l1 or mse; got " + pixels);
    problems.require(
        klWeight >= 0 && Double.isFinite(klWeight),
        "--kl-weight must not be negative; got " + klWeight);
    problems.require(codes > 0 && codes <= 1 << 20, "--codes must be 1 to 1048576; got " + codes);
    problems.require(
        discriminatorStart == null || discriminatorStart >= 0,
        "--discriminator-start must not be negative; got " + discriminatorStart);
  }

  @Override
  public Integer call() {
    try (Workbench bench = options.open()) {
      TrainingRun run = bench.run();
      Map<String, ?> config =
          kind.equals("kl") ? kl(bench.images()).toMap() : vq(bench.images()).toMap();
      String model = config + ", " + klWeight + ", " + pixels + ", " + discriminatorStart;
      Recipe recipe = bench.recipe(AutoencoderTrainer.UPDATE, 1e-3, 50);
      run.stateToResume(bench.settings(model, recipe));
      Parts parts = kind.equals("kl") ? klParts(bench, recipe) : vqParts(bench, recipe);
      try (AutoencoderTrainer trainer = parts.trainer) {
        bench.describe(parts.parameters);
        bench.preview(run, trainer, PreviewSheet.Reconstruction.of(parts.reconstruct));
        if (!bench.train(run, trainer, recipe, model)
            || !trainer.average(() -> reconstruct(bench, parts.reconstruct))) {
          return Interrupts.EXIT_CODE;
        }
      }
      say(
          "wrote samples.png, samples.safetensors, loss.png, loss.csv and checkpoint to %s",
          bench.out());
      return 0;
    }
  }

  private static AutoencoderKLConfig kl(ImageDataset images) {
    return AutoencoderKLConfig.builder()
        .sampleSize(images.height())
        .imageChannels(images.channels())
        .levels(LEVELS)
        .normNumGroups(8)
        .build();
  }

  private VQModelConfig vq(ImageDataset images) {
    return VQModelConfig.builder()
        .sampleSize(images.height())
        .imageChannels(images.channels())
        .levels(LEVELS)
        .normNumGroups(8)
        .latentChannels(4)
        .codebook(codes, null)
        .build();
  }

  private Parts klParts(Workbench bench, Recipe recipe) {
    AutoencoderKLConfig config = kl(bench.images());
    AutoencoderKL model = new AutoencoderKL(weights(bench, "weights"), config);
    AutoencoderTrainer trainer =
        new AutoencoderTrainer(
            model,
            loss(AutoencoderLoss.Options.kl()),
            klWeight,
            null,
            discriminator(bench),
            recipe.update(),
            bench.data().loader(config.factor()),
            bench.rng("training"));
    return new Parts(trainer, model::call, model.parameterCount());
  }

  private Parts vqParts(Workbench bench, Recipe recipe) {
    VQModelConfig config = vq(bench.images());
    VQModel model = new VQModel(weights(bench, "weights"), config);
    AutoencoderTrainer trainer =
        new AutoencoderTrainer(
            model,
            loss(AutoencoderLoss.Options.vq()),
            null,
            discriminator(bench),
            recipe.update(),
            bench.data().loader(config.factor()),
            bench.rng("training"));
    return new Parts(trainer, x -> model.call(x).sample(), model.parameterCount());
  }

  private static Weights weights(Workbench bench, String name) {
    return Weights.init(bench.rng(name)).on(bench.device());
  }

  private AutoencoderLoss.Options loss(AutoencoderLoss.Options base) {
    int start = discriminatorStart == null ? 0 : discriminatorStart;
    return base.pixels(pixels.equals("l1") ? AutoencoderLoss.Pixels.L1 : AutoencoderLoss.Pixels.MSE)
        .adversarial(GanLoss.HINGE, 0.5, start);
  }

  private @Nullable PatchDiscriminator discriminator(Workbench bench) {
    return discriminatorStart == null
        ? null
        : new PatchDiscriminator(weights(bench, "discriminator"), bench.images().channels(), 32, 2);
  }

  /** Reconstructs the first pictures of each class, and says how well. */
  private boolean reconstruct(Workbench bench, UnaryOperator<Tensor> model) {
    ImageDataset images = bench.images();
    int[] next = new int[bench.classes()]; // per class, where to look for the next picture
    double[] error = new double[2]; // sum of squares, and of how many values
    boolean whole =
        bench.sample(
            1,
            (labels, rng, done) -> {
              Tensor x = load(images, labels, next).to(bench.device());
              Tensor y = model.apply(x);
              error[0] += Num.sum(x.sub(y).square()).item();
              error[1] += x.numel();
              done.accept(labels.length);
              return y;
            });
    if (whole) {
      say(
          "reconstructions: peak signal-to-noise ratio %.2f dB",
          10 * Math.log10(4 * error[1] / error[0]));
    }
    return whole;
  }

  /** The next pictures of given classes, [n, C, H', W'] in [-1, 1], padded with black. */
  private static Tensor load(ImageDataset images, long[] labels, int[] next) {
    int unit = 1 << (LEVELS.size() - 1);
    int size = images.bytesPerImage();
    byte[] pixels = new byte[labels.length * size];
    for (int i = 0; i < labels.length; i++) {
      int label = (int) labels[i];
      int index = next[label];
      for (int looked = 0; images.label(index) != label && looked < images.size(); looked++) {
        index = (index + 1) % images.size();
      }
      images.copyPixels(index, pixels, i * size);
      next[label] = (index + 1) % images.size();
    }
    int h = images.height();
    int w = images.width();
    Tensor bytes = Tensor.of(pixels, labels.length, images.channels(), h, w);
    Tensor scaled = Num.affine(Num.cast(bytes, DType.F32), 2 / 255.0, -1);
    int[][] padding = {{0, 0}, {0, 0}, {0, -h & (unit - 1)}, {0, -w & (unit - 1)}};
    return Shaping.pad(scaled, padding, -1);
  }
}
