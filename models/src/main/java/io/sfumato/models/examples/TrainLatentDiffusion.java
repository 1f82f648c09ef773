// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.Listener;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.pipeline.Backbone;
import io.sfumato.models.pipeline.Conditioner;
import io.sfumato.models.pipeline.GenerationRequest;
import io.sfumato.models.pipeline.LatentDiffusion;
import io.sfumato.models.pipeline.Trainable;
import io.sfumato.models.text.WordEncoder;
import io.sfumato.models.text.WordEncoderConfig;
import io.sfumato.models.train.AutoencoderTrainer;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.CaptionBatches;
import io.sfumato.models.train.CaptionTable;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.LatentEncoder;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.unet.UNet2DCondition;
import io.sfumato.models.unet.UNet2DConditionConfig;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.models.vae.AutoencoderLoss;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Trains latent diffusion in two stages: an autoencoder, then a U-Net on its latents that looks at
 * the words of the class ("red circle" by cross-attention), and samples it. Without {@code --data}
 * it draws its own shapes, labelled by colour and shape.
 */
@Command(
    name = "train-latent-diffusion",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains an autoencoder and a diffusion model on its latents, and samples it. Writes"
            + " samples.png, samples.safetensors, loss.png, loss.csv, a checkpoint that is a"
            + " pipeline folder, and the same of the first stage below autoencoder.")
public final class TrainLatentDiffusion implements Callable<Integer>, Checked {
  /** Width of the embeddings of words. */
  private static final int TEXT = 64;

  private static final int FACTOR = 4;
  private static final int UNIT = 2 * FACTOR;
  private static final int SCALE_BATCHES = 20;

  @Mixin private final ExampleOptions options = new ExampleOptions().takingCaptions();

  @Option(
      names = "--first-share",
      description = "The part of the time or steps that the autoencoder is trained.",
      defaultValue = "0.5")
  private double firstShare;

  @Option(
      names = "--sampling-steps",
      description = "Network calls per sample.",
      defaultValue = "50")
  private int samplingSteps;

  @Option(
      names = "--guidance",
      description = "Strength of classifier-free guidance; 1 is none.",
      defaultValue = "2")
  private double guidance;

  @Option(
      names = "--cache-latents",
      arity = "0..1",
      fallbackValue = "",
      paramLabel = "FOLDER",
      description =
          "Encode each picture once and keep the result in FOLDER; latents in --out if none is"
              + " named. Of --augment, flip is possible.")
  private @Nullable String cacheLatents;

  private TrainLatentDiffusion() {}

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
    return Program.run(new TrainLatentDiffusion(), args);
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        firstShare > 0 && firstShare < 1, "--first-share must be 0 to 1; got " + firstShare);
    problems.require(
        samplingSteps > 0 && samplingSteps <= 1000,
        "--sampling-steps must be 1 to 1000; got " + samplingSteps);
    problems.require(
        guidance >= 0 && guidance <= 1000, "--guidance must be 0 to 1000; got " + guidance);
  }

  @Override
  public Integer call() {
    try (Workbench bench =
        options.open(
            world ->
                world.plain(true).resolution(32).labels(ShapesWorld.Labels.COLOUR_AND_SHAPE))) {
      Batches loader = bench.data().loader(UNIT);
      AutoencoderKL vae = firstStage(bench, loader);
      if (vae == null) {
        return Interrupts.EXIT_CODE;
      }
      try (LatentDiffusion pipeline = pipeline(bench, loader, vae)) {
        if (!secondStage(bench, loader, pipeline)) {
          return Interrupts.EXIT_CODE;
        }
      }
      say(
          "wrote samples.png, samples.safetensors, loss.png, loss.csv and checkpoint to %s",
          bench.out());
      return 0;
    }
  }

  // ---- the autoencoder

  /** The trained autoencoder, with the scale of its latents; null if a signal ended it. */
  private @Nullable AutoencoderKL firstStage(Workbench bench, Batches loader) {
    AutoencoderKLConfig config =
        AutoencoderKLConfig.builder()
            .imageChannels(bench.images().channels())
            .levels(List.of(16, 32, 64))
            .normNumGroups(8)
            .latentChannels(4)
            .sampleSize(loader.height())
            .midBlockAddAttention(false)
            .build();
    Recipe recipe =
        bench.recipe(AutoencoderTrainer.UPDATE, 2e-3, 50).withoutGroups(); // the network's
    TrainingRun run = bench.stage("autoencoder", firstShare);
    AutoencoderKL model =
        new AutoencoderKL(Weights.init(bench.rng("autoencoder")).on(bench.device()), config);
    bench.describe(model.parameterCount());
    try (AutoencoderTrainer trainer =
        new AutoencoderTrainer(
            model,
            AutoencoderLoss.Options.kl(),
            AutoencoderTrainer.KL_WEIGHT,
            null,
            null,
            recipe.update(),
            loader,
            bench.rng("autoencoding"))) {
      bench.preview(run, trainer, PreviewSheet.Reconstruction.of(model::call));
      if (!bench.train(run, trainer, recipe, config.toMap())) {
        return null;
      }
      double scale =
          trainer.average(
              () ->
                  bench.together(
                      () ->
                          AutoencoderTrainer.scalingFactor(
                              model,
                              loader,
                              SCALE_BATCHES,
                              bench.rng("scale"),
                              recipe.update().exchange())));
      say("latents are scaled by %.4f", scale);
      return scaled(bench, model, scale);
    }
  }

  /** The averaged weights of the checkpoint, with another scaling factor. */
  private static AutoencoderKL scaled(Workbench bench, AutoencoderKL model, double scale) {
    Path folder = bench.out().resolve("autoencoder/checkpoint/vae");
    try (Weights weights = Weights.open(folder)) {
      return new AutoencoderKL(weights.on(bench.device()), model.config().withScalingFactor(scale));
    }
  }

  // ---- the diffusion model

  private LatentDiffusion pipeline(Workbench bench, Batches loader, AutoencoderKL vae) {
    ImageDataset images = bench.images();
    UNet2DConditionConfig config =
        UNet2DConditionConfig.of(
            Map.of(
                "sample_size",
                loader.height() / FACTOR,
                "in_channels",
                4,
                "out_channels",
                4,
                "block_out_channels",
                List.of(64, 96),
                "down_block_types",
                List.of("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types",
                List.of("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
                "layers_per_block",
                1,
                "attention_head_dim",
                4, // the number of heads, under diffusers' name
                "cross_attention_dim",
                TEXT,
                "norm_num_groups",
                8));
    WordEncoderConfig words = WordEncoderConfig.forTexts(texts(images), TEXT);
    SchedulerConfig scheduler =
        SchedulerConfig.ddpm()
            .withBetas("squaredcos_cap_v2")
            .with(Prediction.V_PREDICTION)
            .withSpacing("trailing")
            .with("clip_sample", false);
    return new LatentDiffusion(
        vae,
        Backbone.of(
            new UNet2DCondition(Weights.init(bench.rng("unet")).on(bench.device()), config)),
        new Conditioner.Words(
            new WordEncoder(Weights.init(bench.rng("words")).on(bench.device()), words)),
        scheduler);
  }

  private boolean secondStage(Workbench bench, Batches loader, LatentDiffusion pipeline) {
    List<String> names = bench.images().classNames();
    TrainingRun run = bench.lastStage(1 - firstShare);
    bench.describe(pipeline.backbone().module().parameterCount());
    Batches second = cacheLatents == null ? loader : latents(bench, cacheLatents, pipeline);
    CaptionTable captions = new CaptionTable();
    boolean captioned = options.data().captions();
    UnaryOperator<Batches> labelled =
        batches -> captioned ? new CaptionBatches(batches, names, captions) : batches;
    Recipe recipe = bench.recipe(DiffusionTrainer.UPDATE, 1e-3, 100);
    Workbench.Sampler sampler = (labels, rng, done) -> draw(pipeline, names, labels, rng, done);
    try (DiffusionTrainer trainer =
        new DiffusionTrainer(
            captioned ? Trainable.of(pipeline, captions) : Trainable.of(pipeline, names),
            pipeline.scheduler(),
            LossOptions.PLAIN,
            recipe.update(),
            labelled.apply(second),
            bench.rng("training"),
            cacheLatents == null
                ? Trainable.firstStage(pipeline)
                : Trainable.latentStage(pipeline))) {
      UNet2DCondition unet = (UNet2DCondition) pipeline.backbone().module();
      bench.preview(run, trainer, sampler);
      ExampleData.Held held = bench.data().held();
      if (held != null) {
        held = held.map(batches -> labelled.apply(asSecond(batches, pipeline)));
      }
      return bench.train(run, trainer, recipe, unet.config().toMap(), held)
          && trainer.average(() -> bench.sample(samplingSteps, sampler));
    }
  }

  /** What the model shall be able to read: names of classes, and captions if they are learned. */
  private Set<String> texts(ImageDataset images) {
    Set<String> texts = new TreeSet<>(images.classNames());
    if (options.data().captions()) {
      int missing = 0;
      for (int i = 0; i < images.size(); i++) {
        images.caption(i).ifPresent(texts::add);
        missing += images.caption(i).isEmpty() ? 1 : 0;
      }
      if (missing > 0) {
        say(
            "%d of %d pictures have no caption; the names of their classes stand for them",
            missing, images.size());
      }
    }
    return texts;
  }

  /** Pictures that are held out, as the network's trainer finds those that it learns from. */
  private Batches asSecond(Batches pictures, LatentDiffusion pipeline) {
    if (cacheLatents == null) {
      return pictures;
    }
    LatentEncoder encoder = Trainable.latentEncoder(pipeline);
    return pictures.map(b -> new Batches.Batch(encoder.moments(b.images()), b.labels(), b.shown()));
  }

  private static Batches latents(Workbench bench, String folder, LatentDiffusion pipeline) {
    return bench.latents(
        UNIT,
        folder.isEmpty() ? bench.out().resolve("latents") : Path.of(folder),
        Trainable.latentEncoder(pipeline));
  }

  private Tensor draw(
      LatentDiffusion pipeline, List<String> names, long[] labels, Rng rng, IntConsumer done) {
    List<String> prompts = Arrays.stream(labels).mapToObj(l -> names.get((int) l)).toList();
    return pipeline.generate(
        GenerationRequest.of(prompts)
            .guidance(guidance)
            .steps(samplingSteps)
            .seed(rng.key())
            .listener(Listener.watching(p -> done.accept(labels.length))));
  }
}
