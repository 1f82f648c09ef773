// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.Datasets;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.data.LossPlot;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.Guidance;
import io.sfumato.models.diffusion.NoiseSource;
import io.sfumato.models.diffusion.Prediction;
import io.sfumato.models.diffusion.Samplers;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.Shaping;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Trains a class-conditional diffusion model on pictures and samples it. Without {@code --data} it
 * draws its own: shapes of many colours, sizes and places.
 */
@Command(
    name = "train-diffusion",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Trains a class-conditional diffusion model and samples it. Writes samples.png,"
            + " samples.safetensors, loss.png, loss.csv and a checkpoint in diffusers layout.")
public final class TrainDiffusion implements Callable<Integer> {
  private static final double LEARNING_RATE = 2e-3;
  private static final double WARM_UP_STEPS = 50;

  @Option(
      names = "--data",
      description =
          "Folder with MNIST, Fashion-MNIST or CIFAR-10 files, or pictures in one folder per class;"
              + " the built-in shapes if absent.")
  private @Nullable Path data;

  @Option(names = "--out", description = "Folder for results.", defaultValue = "out")
  private Path out = Path.of("out");

  @Option(names = "--minutes", description = "Minutes of training; 1.5 if --steps is absent.")
  private @Nullable Double minutes;

  @Option(names = "--steps", description = "Training steps, instead of --minutes.")
  private @Nullable Integer steps;

  @Option(names = "--batch", description = "Pictures per step; 24 for shapes, else 32.")
  private @Nullable Integer batch;

  @Option(
      names = "--size",
      description = "Side of the pictures; 16 for shapes, the data's own for MNIST and CIFAR-10.")
  private @Nullable Integer size;

  @Option(names = "--seed", description = "Seed of everything random.", defaultValue = "0")
  private long seed;

  @Option(names = "--device", description = "cpu, cuda, cuda:1, …; the best there is if absent.")
  private @Nullable String device;

  @Option(names = "--threads", description = "Threads on the CPU; all cores if absent.")
  private @Nullable Integer threads;

  @Option(names = "--sampler", description = "ddpm or ddim.", defaultValue = "ddpm")
  private String sampler = "ddpm";

  @Option(
      names = "--sampling-steps",
      description = "Network calls per sample.",
      defaultValue = "50")
  private int samplingSteps;

  @Option(
      names = "--guidance",
      description = "Strength of classifier-free guidance; 1 is none.",
      defaultValue = "1.25")
  private double guidance;

  @Option(names = "--samples-per-class", description = "Pictures to draw.", defaultValue = "8")
  private int samplesPerClass;

  @Option(
      names = "--checkpoint-seconds",
      description = "Seconds from one checkpoint to the next; there is one at the end, too.",
      defaultValue = "60")
  private double checkpointSeconds;

  @Option(
      names = "--stop-after",
      description = "Draw samples at this step already; --resume goes on from there.")
  private @Nullable Integer stopAfter;

  @Option(names = "--resume", description = "Go on from the checkpoint in --out.")
  private boolean resume;

  /** Leaves the sampling loop. */
  private static final class StopSampling extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  private TrainDiffusion() {}

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
    CommandLine command = new CommandLine(new TrainDiffusion());
    command.setExecutionExceptionHandler(
        (e, c, result) -> {
          c.getErr().println(e.getMessage() == null ? e.toString() : e.getMessage());
          return isInputError(e) ? 2 : 1;
        });
    command.setParameterExceptionHandler(
        (e, a) -> {
          e.getCommandLine().getErr().println(e.getMessage() + " (see --help)");
          return 2;
        });
    return command.execute(args);
  }

  private static boolean isInputError(Exception e) {
    return e instanceof IllegalArgumentException
        || e instanceof DatasetException
        || e instanceof TensorFileException
        || e instanceof WeightsException
        || e instanceof TensorException
        || e instanceof UncheckedIOException;
  }

  @Override
  public Integer call() {
    try {
      return trainAndSample();
    } catch (OutOfMemoryError e) {
      throw new IllegalArgumentException(
          "out of memory (" + e.getMessage() + "); a smaller --batch or --size needs less", e);
    }
  }

  private int trainAndSample() {
    checkOptions();
    if (threads != null) {
      Parallel.setThreads(threads);
    }
    Device where = device == null ? Backends.best() : Device.parse(device);
    Backends.of(where); // fails here, with the reason, if there is no such device
    ImageDataset images = openData();
    prepareOutput();
    int classes = images.classNames().size();
    UNet2DConfig config = config(images, classes);
    Rng rng = Rng.seed(seed);
    SchedulerConfig scheduler =
        SchedulerConfig.ddpm()
            .withBetas("squaredcos_cap_v2")
            .with(Prediction.V_PREDICTION)
            .withSpacing("trailing");
    Map<String, String> settings = settings(images, config);
    Path checkpoint = out.resolve("checkpoint");
    Checkpoint.@Nullable State from = resume ? stateToResume(checkpoint, settings) : null;

    BatchLoader loader = new BatchLoader(images, batchSize(), 4, rng.fork("data"), where);
    say(
        "%d pictures of %d classes, %d x %d x %d, on %s with %d threads",
        images.size(),
        images.classNames().size(),
        images.channels(),
        images.height(),
        images.width(),
        where,
        Parallel.threads());
    UNet2D model = new UNet2D(Weights.init(rng.fork("weights")).on(where), config);
    try (DiffusionTrainer trainer =
            new DiffusionTrainer(model, scheduler, loader, rng.fork("training"));
        Interrupts interrupts = Interrupts.catchSignals()) {
      if (from != null) {
        trainer.restore(checkpointToRead(checkpoint), from);
        say("going on from step %d", from.step());
      }
      say("%,d parameters", model.parameterCount());
      try {
        train(trainer, images, settings, checkpoint, from, interrupts);
        if (!interrupts.requested()) {
          sample(trainer, loader, images, rng.fork("samples"), interrupts);
        }
      } catch (TensorFileException | UncheckedIOException e) {
        throw new IllegalStateException(e.getMessage(), e); // a full disk is no wrong input
      }
      if (interrupts.requested()) {
        say("interrupted at step %d; the checkpoint is in %s", trainer.steps(), checkpoint);
        return Interrupts.EXIT_CODE;
      }
      say("wrote samples.png, samples.safetensors, loss.png, loss.csv and checkpoint to %s", out);
      return 0;
    }
  }

  // ---- training

  private void train(
      DiffusionTrainer trainer,
      ImageDataset images,
      Map<String, String> settings,
      Path checkpoint,
      Checkpoint.@Nullable State from,
      Interrupts interrupts) {
    double before = from == null ? 0 : from.seconds();
    long start = System.nanoTime();
    double budget = 60 * (minutes == null ? 1.5 : minutes);
    long total = steps == null ? 0 : steps;
    double saved = before;
    try (LossCsv csv = LossCsv.resume(out.resolve("loss.csv"), trainer.steps() + 1);
        ProgressBar bar = bar("training", total > 0 ? total : Math.round(budget))) {
      while (!interrupts.requested()) {
        double seconds = before + (System.nanoTime() - start) * 1e-9;
        double progress =
            total > 0 ? (double) trainer.steps() / total : Math.min(1, seconds / budget);
        if (progress >= 1 || (stopAfter != null && trainer.steps() >= stopAfter)) {
          break;
        }
        double rate = learningRate(trainer.steps(), progress);
        double loss = trainer.step(rate);
        if (!Double.isFinite(loss)) {
          throw new IllegalStateException(
              "the loss became "
                  + loss
                  + " at step "
                  + trainer.steps()
                  + "; the last good checkpoint is in "
                  + checkpoint);
        }
        csv.append(new LossCsv.Row(trainer.steps(), loss, rate, seconds));
        bar.stepTo(total > 0 ? trainer.steps() : Math.round(seconds));
        bar.setExtraMessage(String.format("step %d loss %.4f", trainer.steps(), loss));
        if (seconds - saved > checkpointSeconds) {
          saved = seconds;
          trainer.save(checkpoint, state(trainer, images, settings, seconds));
        }
      }
      double seconds = before + (System.nanoTime() - start) * 1e-9;
      trainer.save(checkpoint, state(trainer, images, settings, seconds));
    }
    LossPlot.write(
        out.resolve("loss.png"), LossCsv.read(out.resolve("loss.csv")), LossPlot.options());
  }

  private static Checkpoint.State state(
      DiffusionTrainer trainer, ImageDataset images, Map<String, String> settings, double seconds) {
    return new Checkpoint.State(trainer.steps(), seconds, settings, images.classNames());
  }

  /** A short linear warm-up, then half a cosine down to zero. */
  private static double learningRate(long step, double progress) {
    double warmUp = Math.min(1, (step + 1) / WARM_UP_STEPS);
    return LEARNING_RATE * warmUp * 0.5 * (1 + Math.cos(Math.PI * progress));
  }

  // ---- sampling

  private void sample(
      DiffusionTrainer trainer,
      BatchLoader loader,
      ImageDataset images,
      Rng rng,
      Interrupts interrupts) {
    int classes = images.classNames().size();
    long[] labels = new long[classes * samplesPerClass];
    Arrays.setAll(labels, i -> i / samplesPerClass);
    int chunk = 64;
    try (Scope scope = Scope.open();
        ProgressBar bar = bar("sampling", (long) labels.length * samplingSteps)) {
      IntConsumer done =
          pictures -> {
            bar.stepBy(pictures);
            if (interrupts.requested()) {
              throw new StopSampling();
            }
          };
      List<Tensor> parts = new ArrayList<>();
      trainer.withAverage(
          () -> {
            for (int at = 0; at < labels.length; at += chunk) {
              long[] some = Arrays.copyOfRange(labels, at, Math.min(labels.length, at + chunk));
              Rng draw = rng.step(at);
              parts.add(
                  Scope.run(
                      () -> {
                        Tensor x = draw(trainer, loader, images.channels(), some, draw, done);
                        return SampleSheet.toPixels(x, images.height(), images.width());
                      }));
            }
          });
      Tensor all = Shaping.concat(0, parts.toArray(Tensor[]::new));
      SampleSheet.write(out, all, labels, images.classNames());
    } catch (StopSampling e) {
      // The caller sees the interrupt, too.
    }
  }

  private Tensor draw(
      DiffusionTrainer trainer,
      BatchLoader loader,
      int channels,
      long[] labels,
      Rng rng,
      IntConsumer done) {
    Device where = loader.device();
    Tensor condition = Tensor.of(labels, labels.length).to(where);
    Tensor none = Tensor.of(new long[] {trainer.noClass()}, 1).to(where);
    Denoiser denoiser = trainer.denoiser();
    Denoiser guided = denoiser.with(new Guidance(denoiser.network(), none, guidance));
    Tensor noise =
        rng.fork("start")
            .normal(labels.length, channels, loader.height(), loader.width())
            .to(where);
    Samplers.Listener listener = (step, of, x) -> done.accept(labels.length);
    NoiseSource source = NoiseSource.of(rng.fork("noise"));
    return sampler.equals("ddpm")
        ? Samplers.ddpm(guided, noise, condition, samplingSteps, source, listener)
        : Samplers.ddim(
            guided, noise, condition, samplingSteps, Samplers.DdimOptions.GUIDED, source, listener);
  }

  // ---- preparation

  private void checkOptions() {
    require(minutes == null || steps == null, "--minutes and --steps exclude each other");
    require(
        minutes == null || (minutes > 0 && minutes <= 1e6),
        "--minutes must be positive, and 1e6 at most; got " + minutes);
    require(steps == null || steps > 0, "--steps must be positive; got " + steps);
    require(stopAfter == null || stopAfter > 0, "--stop-after must be positive; got " + stopAfter);
    require(batch == null || batch > 0, "--batch must be positive; got " + batch);
    require(size == null || (size >= 8 && size <= 512), "--size must be 8 to 512; got " + size);
    require(
        threads == null || (threads > 0 && threads <= 1024),
        "--threads must be 1 to 1024; got " + threads);
    require(
        sampler.equals("ddim") || sampler.equals("ddpm"),
        "--sampler must be ddim or ddpm; got " + sampler);
    require(
        samplingSteps > 0 && samplingSteps <= 1000,
        "--sampling-steps must be 1 to 1000; got " + samplingSteps);
    require(guidance >= 0 && guidance <= 1000, "--guidance must be 0 to 1000; got " + guidance);
    require(
        samplesPerClass > 0 && samplesPerClass <= 1000,
        "--samples-per-class must be 1 to 1000; got " + samplesPerClass);
    require(
        checkpointSeconds >= 0,
        "--checkpoint-seconds must not be negative; got " + checkpointSeconds);
  }

  private int batchSize() {
    if (batch != null) {
      return batch;
    }
    return data == null ? 24 : 32;
  }

  private static void require(boolean ok, String message) {
    if (!ok) {
      throw new IllegalArgumentException(message);
    }
  }

  private ImageDataset openData() {
    if (data == null) {
      int side = size == null ? 16 : size;
      ShapesWorld world =
          new ShapesWorld(ShapesWorld.options().plain(true).resolution(side).seed(seed));
      return side > 64 ? world : InMemoryImageDataset.copyOf(world); // else drawn when needed
    }
    return size == null ? Datasets.openNative(data, 32) : Datasets.open(data, size);
  }

  private void prepareOutput() {
    try {
      Files.createDirectories(out);
      Files.delete(Files.createTempFile(out, ".writable", ""));
    } catch (IOException e) {
      String reason = e instanceof FileSystemException f ? f.getReason() : e.getMessage();
      throw new UncheckedIOException(
          "--out "
              + out
              + ": cannot be written: "
              + (Files.isRegularFile(out)
                  ? "is a file"
                  : e.getClass().getSimpleName() + (reason == null ? "" : ": " + reason)),
          e);
    }
    if (!resume) {
      try {
        Files.deleteIfExists(out.resolve("loss.csv"));
      } catch (IOException e) {
        throw new UncheckedIOException(out.resolve("loss.csv") + ": cannot be replaced", e);
      }
    }
  }

  private static UNet2DConfig config(ImageDataset images, int classes) {
    return UNet2DConfig.builder()
        .sampleSize(images.height())
        .imageChannels(images.channels())
        .levels(List.of(32, 64, 64), List.of(false, false, true))
        .layersPerBlock(1)
        .attentionHeadDim(16)
        .normNumGroups(8)
        .numClassEmbeds(classes + 1)
        .build();
  }

  private Map<String, String> settings(ImageDataset images, UNet2DConfig config) {
    Map<String, String> settings = new TreeMap<>();
    settings.put("data", data == null ? "shapes" : data.toAbsolutePath().normalize().toString());
    settings.put("pictures", images.size() + " x " + images.bytesPerImage() + " bytes");
    settings.put("classes", String.join(",", images.classNames()));
    settings.put("batch", Integer.toString(batchSize()));
    settings.put("seed", Long.toString(seed));
    settings.put("model", config.toMap().toString());
    return settings;
  }

  private static Checkpoint.State stateToResume(Path checkpoint, Map<String, String> settings) {
    Checkpoint.State state = Checkpoint.readState(checkpointToRead(checkpoint));
    List<String> differences = state.differences(settings);
    require(
        differences.isEmpty(),
        "--resume: the checkpoint is of another configuration: " + String.join("; ", differences));
    return state;
  }

  private static Path checkpointToRead(Path checkpoint) {
    Path found = Checkpoint.find(checkpoint);
    if (found == null) {
      throw new IllegalArgumentException("--resume: there is no checkpoint in " + checkpoint);
    }
    return found;
  }

  private static ProgressBar bar(String task, long total) {
    return new ProgressBarBuilder()
        .setTaskName(task)
        .setInitialMax(total)
        .setStyle(ProgressBarStyle.ASCII)
        .setUpdateIntervalMillis(500)
        .build();
  }

  private static void say(String format, Object... arguments) {
    System.out.printf(format + "%n", arguments);
  }
}
