// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Version;
import io.sfumato.models.data.HeldOut;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.distributed.Team;
import io.sfumato.models.report.Environment;
import io.sfumato.models.report.Report;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.LatentBatches;
import io.sfumato.models.train.LatentCache;
import io.sfumato.models.train.LatentEncoder;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.LoaderOptions;
import io.sfumato.models.train.MemoryEstimate;
import io.sfumato.models.train.Progress;
import io.sfumato.models.train.RunListener;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.train.Trainee;
import io.sfumato.models.train.TrainingFiles;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.train.UpdateOptions;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.UseAfterFreeException;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.ops.Shaping;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/** What a training example works with: data, device, seeds, the run's folder and Ctrl-C. */
final class Workbench implements AutoCloseable {
  private static final Logger LOG = System.getLogger("io.sfumato.models");
  private static final int CHUNK = 64;
  private static final int PREVIEWED = 40;

  private final ExampleOptions options;
  private final TrainingRun.Options runOptions;
  private final ImageDataset images;
  private final @Nullable ImageDataset held;
  private final Device device;
  private final Team team;
  private final PrintStream out = System.out;
  private final Rng rng;
  private final Set<Path> folders = new LinkedHashSet<>(); // of runs that began
  private final List<Batches> loaders = new ArrayList<>();
  private int unit = 1; // of the sides of batches
  private final Interrupts interrupts = Interrupts.catchSignals();

  Workbench(
      ExampleOptions options,
      TrainingRun.Options runOptions,
      ImageDataset images,
      Device device,
      Team team) {
    this.options = options;
    this.team = team;
    this.runOptions = runOptions;
    this.device = device;
    this.rng = Rng.seed(options.seed());
    RunFlags flags = options.running();
    HeldOut parts =
        flags.validates() ? HeldOut.of(images, flags.validationShare(), rng("held out")) : null;
    this.images = parts == null ? images : parts.training();
    this.held = parts == null ? null : parts.held();
    if (!team.leads()) { // one process speaks
      System.setOut(
          new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8));
    }
  }

  ImageDataset images() {
    return images;
  }

  int classes() {
    return images.classNames().size();
  }

  Device device() {
    return device;
  }

  Path out() {
    return options.out();
  }

  /** An independent source of randomness. */
  Rng rng(String name) {
    return rng.fork(name);
  }

  /** Shuffled batches of pictures, padded to multiples of {@code unit}. */
  Batches loader(int unit) {
    this.unit = unit;
    return shared(images, unit);
  }

  /** Shuffled batches of some of the pictures. */
  Batches loader(ImageDataset some, int unit) {
    if (held != null) {
      throw new IllegalArgumentException(
          "--validation-steps: this program trains on some classes only, and holds nothing out");
    }
    return shared(some, unit);
  }

  private Batches shared(ImageDataset some, int unit) {
    LoaderOptions how = options.data().loading(wholeBatch(), unit, images);
    BatchLoader own = new BatchLoader(some, how, team.share(), rng("data"), device);
    loaders.add(own);
    return own;
  }

  /** The same batches as {@link #loader(int)} gives, with latents that are encoded once. */
  Batches latents(int unit, Path folder, LatentEncoder encoder) {
    LoaderOptions how = options.data().loading(wholeBatch(), unit, images).ahead(0);
    BatchLoader pictures = new BatchLoader(images, how, team.share(), rng("data"), device);
    // Rank 0 writes what is missing; the others find it there.
    LatentBatches own =
        orAbort(() -> team.leaderFirst(() -> LatentCache.open(folder, pictures, encoder)));
    loaders.add(own);
    return own;
  }

  /** Whether this process is the one that draws, measures and writes beside the training. */
  boolean leads() {
    return team.leads();
  }

  /** Computes something of every process's part of the pictures, which all must do together. */
  <R> R together(Supplier<R> body) {
    return orAbort(() -> team.run(body));
  }

  /** Pictures per step of all processes together. */
  private int wholeBatch() {
    return Math.multiplyExact(options.batch(), team.size());
  }

  /** Prints what is trained on what. */
  void describe(long parameters) {
    say(
        "%d pictures of %d classes, %d x %d x %d, on %s with %d threads",
        images.size(),
        classes(),
        images.channels(),
        images.height(),
        images.width(),
        device,
        Parallel.threads());
    say("%,d parameters", parameters);
  }

  /** What must be equal for a run to go on. */
  Map<String, String> settings(Object model) {
    Map<String, String> settings = new TreeMap<>(options.data().settings());
    settings.put("pictures", images.size() + " x " + images.bytesPerImage() + " bytes");
    settings.put("classes", String.join(",", images.classNames()));
    settings.put("batch", Integer.toString(wholeBatch()));
    settings.put("seed", Long.toString(options.seed()));
    settings.put("model", model.toString());
    settings.putAll(options.updating().settings());
    settings.putAll(options.running().settings());
    return settings;
  }

  /** Lets a run draw a picture of each class now and then, if it shall. */
  TrainingRun previewed(TrainingRun run, Sampler sampler) {
    return run.preview(png -> preview(png, sampler));
  }

  private void preview(Path png, Sampler sampler) {
    int perClass = Math.clamp(PREVIEWED / classes(), 1, options.samplesPerClass());
    long[] labels = new long[classes() * perClass];
    Arrays.setAll(labels, i -> i / perClass);
    try (Scope scope = Scope.open()) {
      Tensor pictures = sampler.draw(labels, rng("previews"), done -> {});
      Tensor pixels = SampleSheet.toPixels(pictures, images.height(), images.width());
      SampleSheet.picture(png, pixels, images.classNames());
    }
  }

  /** How the program makes steps, with what the options say instead. */
  UpdateOptions update(UpdateOptions own) {
    UpdateOptions how = options.updating().apply(own);
    return team.size() == 1 ? how : how.exchange(team);
  }

  /** Half a cosine after a warm-up, or what the options say instead. */
  LearningRate rate(TrainingRun run, double peak, int warmUp) {
    return rate(run, peak, warmUp, LearningRate::cosine);
  }

  /** The program's own learning rate, or what the options say instead. */
  LearningRate rate(TrainingRun run, double peak, int warmUp, UpdateFlags.Own own) {
    return options.updating().rate(run.options().budget().steps(), peak, warmUp, own);
  }

  /** A run in {@code --out} itself. */
  TrainingRun run() {
    return new TrainingRun(out(), runOptions, interrupts).listener(records());
  }

  /**
   * A first stage in a folder of its own, with its share of the time or steps; {@code --stop-after}
   * and previews are for the last stage.
   */
  TrainingRun stage(String name, double share) {
    TrainingRun.Watching all = runOptions.watching();
    TrainingRun.Watching some =
        new TrainingRun.Watching(
            all.validationSteps(), null, all.profile(), all.events(), all.histogramSteps());
    return new TrainingRun(
            out().resolve(name), runOptions.share(share).stopAfter(null).watching(some), interrupts)
        .listener(records());
  }

  /** The last of several stages, in {@code --out} itself; {@code --resume} may find it unbegun. */
  TrainingRun lastStage(double share) {
    TrainingRun.Options part = runOptions.share(share);
    boolean begun = Checkpoint.find(out().resolve("checkpoint")) != null;
    return new TrainingRun(out(), begun ? part : part.resume(false), interrupts)
        .listener(records());
  }

  /** Writes what a run is about into its folder. */
  private RunListener records() {
    return new RunListener() {
      @Override
      public void started(Path folder) {
        options.writeConfig(folder);
        Environment.write(folder, device, Version.current());
        folders.add(folder);
      }

      @Override
      public void saved(Path folder, long step) {
        if (options.reportsAtCheckpoints()) {
          report(folder);
        }
      }
    };
  }

  /**
   * Trains, and says from where it goes on.
   *
   * @param model the model's configuration; must be equal when a later run goes on
   * @return false if a signal ended it
   */
  boolean train(TrainingRun run, Trainee trainee, LearningRate rate, Object model) {
    Map<String, String> settings = settings(model);
    Checkpoint.@Nullable State from = run.stateToResume(settings);
    if (from != null) {
      say("going on from step %d", from.step());
    }
    if (held != null) {
      run.validation(
          new BatchLoader(held, options.batch(), unit, rng("validation data"), device),
          options.running().validationBatches(held.size(), options.batch()));
    }
    if (options.running().memoryCheck()) {
      estimate(trainee, run.options().saving());
    }
    boolean whole =
        team.size() == 1
            ? run.train(trainee, rate, settings, images.classNames())
            : trainTogether(run, trainee, rate, settings);
    if (!whole) {
      say("interrupted at step %d; the checkpoint is in %s", trainee.steps(), run.checkpoint());
    }
    return whole;
  }

  /** Says what memory a step will take, and refuses what cannot fit. */
  private static void estimate(Trainee trainee, TrainingRun.Saving saving) {
    MemoryEstimate estimate;
    try {
      estimate = MemoryEstimate.of(trainee, saving);
    } catch (UseAfterFreeException e) {
      say("the memory of a step is not known in advance: this model's loss reads values back");
      return;
    }
    say("%s", estimate.text());
    estimate.requireFits();
  }

  /**
   * One of several processes: the first one's loop leads the others. A failure of one ends all.
   *
   * @return false if a signal ended it, on all of them
   */
  private boolean trainTogether(
      TrainingRun run, Trainee trainee, LearningRate rate, Map<String, String> settings) {
    Map<String, String> common = new TreeMap<>(settings);
    common.remove("data"); // may lie elsewhere on another machine
    common.put("version", Version.current());
    return orAbort(
        () -> {
          common.put("what is in the pictures", contents());
          team.begin(common);
          boolean whole = true;
          if (team.leads()) {
            say("%s", team.description());
            whole = run.train(team.leading(trainee), rate, settings, images.classNames());
            say("%s", team.cost());
            team.end();
          } else {
            team.follow(trainee);
          }
          return team.ofLeader(whole);
        });
  }

  /** Does something that all processes do together; if one cannot, all end, saying why. */
  private <R> R orAbort(Supplier<R> body) {
    try {
      return body.get();
    } catch (RuntimeException | Error e) {
      if (team.size() > 1) {
        team.abort(e, System.err::println);
      }
      throw e;
    }
  }

  /** A checksum of some pictures from all over the data. */
  private String contents() {
    CRC32C sum = new CRC32C();
    byte[] pixels = new byte[images.bytesPerImage()];
    int looks = Math.min(256, images.size());
    for (int i = 0; i < looks; i++) {
      int index = (int) ((long) i * images.size() / looks);
      images.copyPixels(index, pixels, 0);
      sum.update(pixels);
      sum.update(images.label(index));
    }
    return Long.toHexString(sum.getValue());
  }

  /** Draws pictures of given classes. */
  @FunctionalInterface
  interface Sampler {
    /**
     * Pictures, in the current scope.
     *
     * @param labels one per picture
     * @param rng the source of everything random
     * @param done to be told of each part of the work, in pictures times calls
     * @return [n, C, H, W] in [-1, 1]
     */
    Tensor draw(long[] labels, Rng rng, IntConsumer done);
  }

  /** Leaves the sampling loop. */
  private static final class StopSampling extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /**
   * Draws {@code --samples-per-class} pictures of each class and writes {@code samples.png} and
   * {@code samples.safetensors}.
   *
   * @param calls how often {@code sampler} tells of each picture
   * @return false if a signal ended it
   */
  boolean sample(int calls, Sampler sampler) {
    return sample(out(), calls, sampler);
  }

  /** The same into another folder, made if missing. */
  boolean sample(Path folder, int calls, Sampler sampler) {
    return orAbort( // the others wait
        () -> team.ofLeader(!team.leads() || draw(folder, calls, sampler)));
  }

  private boolean draw(Path folder, int calls, Sampler sampler) {
    TrainingFiles.makeFolder(folder);
    int perClass = options.samplesPerClass();
    long[] labels = new long[classes() * perClass];
    Arrays.setAll(labels, i -> i / perClass);
    try (Scope scope = Scope.open();
        Progress bar = Progress.open("sampling", (long) labels.length * calls)) {
      IntConsumer done =
          pictures -> {
            bar.advance(pictures);
            if (interrupts.requested()) {
              throw new StopSampling();
            }
          };
      List<Tensor> parts = new ArrayList<>();
      for (int at = 0; at < labels.length; at += CHUNK) {
        long[] some = Arrays.copyOfRange(labels, at, Math.min(labels.length, at + CHUNK));
        Rng draw = rng("samples").step(at);
        parts.add(
            Scope.run(
                () ->
                    SampleSheet.toPixels(
                        sampler.draw(some, draw, done), images.height(), images.width())));
      }
      SampleSheet.write(
          folder, Shaping.concat(0, parts.toArray(Tensor[]::new)), labels, images.classNames());
      return true;
    } catch (StopSampling e) {
      say("interrupted while sampling; the checkpoint is in %s", out());
      return false;
    } catch (TensorFileException | UncheckedIOException e) {
      throw new IllegalStateException(e.getMessage(), e); // a full disk is no wrong input
    }
  }

  /** A page that cannot be written is no reason to lose the run. */
  private static void report(Path folder) {
    try {
      Report.write(folder);
    } catch (RuntimeException e) {
      LOG.log(
          Level.WARNING,
          "{0}: no report, because {1}; \"sfumato report {0}\" tries again",
          folder,
          e.getMessage());
    }
  }

  /** Ends reading ahead, and writes the reports: now the samples are there, too. */
  @Override
  public void close() {
    loaders.forEach(Batches::close);
    team.close();
    System.setOut(out);
    interrupts.close();
    folders.forEach(Workbench::report);
  }
}
