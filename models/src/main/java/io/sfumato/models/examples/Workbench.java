// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Version;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.distributed.Team;
import io.sfumato.models.report.Environment;
import io.sfumato.models.report.Report;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.LatentEncoder;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.MemoryEstimate;
import io.sfumato.models.train.Progress;
import io.sfumato.models.train.RunListener;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.train.Trainee;
import io.sfumato.models.train.TrainingFiles;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.train.UpdateOptions;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.NoValuesException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
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
import org.jspecify.annotations.Nullable;

/** What a training example works with: data, device, seeds, the run's folder and Ctrl-C. */
final class Workbench implements AutoCloseable {
  private static final Logger LOG = System.getLogger("io.sfumato.models");
  private static final int CHUNK = 64;

  private final ExampleOptions options;
  private final TrainingRun.Options runOptions;
  private final ExampleData data;
  private final Device device;
  private final Team team;
  private final PrintStream out = System.out;
  private final Rng rng;
  private final Set<Path> folders = new LinkedHashSet<>(); // of runs that began
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
    this.data = new ExampleData(options, images, device, team, rng);
    if (!team.leads()) { // one process speaks
      System.setOut(
          new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8));
    }
  }

  /** Batches of pictures. */
  ExampleData data() {
    return data;
  }

  /** What is learned from. */
  ImageDataset images() {
    return data.images();
  }

  int classes() {
    return images().classNames().size();
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

  /** Batches of latents that are encoded once, see {@link ExampleData#latents}. */
  Batches latents(int unit, Path folder, LatentEncoder encoder) {
    return orAbort(() -> data.latents(unit, folder, encoder));
  }

  /** Whether this process is the one that draws, measures and writes beside the training. */
  boolean leads() {
    return team.leads();
  }

  /** Computes something of every process's part of the pictures, which all must do together. */
  <R> R together(Supplier<R> body) {
    return orAbort(() -> team.run(body));
  }

  /** Prints what is trained on what. */
  void describe(long parameters) {
    say(
        "%d pictures of %d classes, %d x %d x %d, on %s with %d threads",
        images().size(),
        classes(),
        images().channels(),
        images().height(),
        images().width(),
        device,
        Parallel.threads());
    say("%,d parameters", parameters);
  }

  /** What must be equal for a run to go on. */
  Map<String, String> settings(Object model, Recipe recipe) {
    Map<String, String> settings = new TreeMap<>(data.settings());
    settings.put("seed", Long.toString(options.seed()));
    settings.put("model", model.toString());
    settings.putAll(recipe.settings());
    settings.putAll(options.running().settings());
    return settings;
  }

  /** Lets a run draw samples now and then, if it shall. */
  void preview(TrainingRun run, Trainee trainee, Sampler sampler) {
    preview(run, trainee, sampler, null);
  }

  /** Lets a run draw pictures and reconstructions now and then, if it shall. */
  void preview(TrainingRun run, Trainee trainee, PreviewSheet.Reconstruction again) {
    preview(run, trainee, null, again);
  }

  /** Lets a run draw samples and reconstructions, either if there are such. */
  void preview(
      TrainingRun run,
      Trainee trainee,
      @Nullable Sampler sampler,
      PreviewSheet.@Nullable Reconstruction again) {
    PreviewSheet sheet = new PreviewSheet(this, trainee, sampler, options.samplesPerClass(), again);
    if (runOptions.watching().previewSteps() != null) {
      sheet.announce();
    }
    run.preview(sheet);
  }

  /** How the program learns, or what the options say instead; half a cosine after the warm-up. */
  Recipe recipe(UpdateOptions own, double peak, int warmUp) {
    return recipe(own, peak, warmUp, Recipe.Own.COSINE);
  }

  /** The same with the program's own schedule. */
  Recipe recipe(UpdateOptions own, double peak, int warmUp, Recipe.Own schedule) {
    Recipe recipe = options.updating().recipe(own, peak, warmUp, schedule);
    return team.size() == 1 ? recipe : recipe.update(recipe.update().exchange(team));
  }

  /** A run in {@code --out} itself. */
  TrainingRun run() {
    return new TrainingRun(out(), runOptions, interrupts).listener(records());
  }

  /**
   * A first stage in a folder of its own, with its share of the time or steps; {@code --stop-after}
   * is for the last stage.
   */
  TrainingRun stage(String name, double share) {
    return new TrainingRun(out().resolve(name), runOptions.share(share).stopAfter(null), interrupts)
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
  boolean train(TrainingRun run, Trainee trainee, Recipe recipe, Object model) {
    return train(run, trainee, recipe, model, data.held());
  }

  /**
   * The same with what is validated on.
   *
   * @param validated what the trainee finds in the place of batches it learns from
   */
  boolean train(
      TrainingRun run,
      Trainee trainee,
      Recipe recipe,
      Object model,
      ExampleData.@Nullable Held validated) {
    Map<String, String> settings = settings(model, recipe);
    LearningRate rate = recipe.rate(run);
    Checkpoint.@Nullable State from = run.stateToResume(settings);
    if (from != null) {
      say("going on from step %d", from.step());
    }
    if (validated != null) {
      run.validation(validated.batches(), validated.count());
    }
    if (options.running().memoryCheck()) {
      estimate(trainee, run.options().saving());
    }
    boolean whole =
        team.size() == 1
            ? run.train(trainee, rate, settings, images().classNames())
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
    } catch (NoValuesException e) {
      say(
          "the memory of a step is not known in advance, for it depends on values that only the"
              + " step itself computes (%s)",
          e.getMessage());
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
          common.put("what is in the pictures", data.contents());
          team.begin(common);
          boolean whole = true;
          if (team.leads()) {
            say("%s", team.description());
            whole = run.train(team.leading(trainee), rate, settings, images().classNames());
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

  /** Leaves what draws, for a signal came. */
  static final class StopSampling extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /**
   * Is called between the steps of a sampler.
   *
   * @throws StopSampling if a signal came
   */
  void leaveIfInterrupted() {
    if (interrupts.requested()) {
      throw new StopSampling();
    }
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
            leaveIfInterrupted();
          };
      List<Tensor> parts = new ArrayList<>();
      for (int at = 0; at < labels.length; at += CHUNK) {
        long[] some = Arrays.copyOfRange(labels, at, Math.min(labels.length, at + CHUNK));
        Rng draw = rng("samples").step(at);
        parts.add(
            Scope.run(
                () ->
                    SampleSheet.toPixels(
                        sampler.draw(some, draw, done), images().height(), images().width())));
      }
      SampleSheet.write(
          folder, Shaping.concat(0, parts.toArray(Tensor[]::new)), labels, images().classNames());
      return true;
    } catch (StopSampling e) {
      say("interrupted while sampling; the checkpoint is in %s", out().resolve("checkpoint"));
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
    data.close();
    team.close();
    System.setOut(out);
    interrupts.close();
    folders.forEach(Workbench::report);
  }
}
