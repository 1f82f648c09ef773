// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.LossCsv;
import io.sfumato.models.data.LossPlot;
import io.sfumato.tensor.io.TensorFileException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The loop of a training run in a folder of its own: steps until the budget is spent or a signal
 * comes, {@code checkpoint/} from time to time and at the end, a line of {@code loss.csv} and
 * {@code metrics.jsonl} per step, {@code loss.png}; if wanted {@code previews/}, a validation loss
 * and {@code checkpoint-best/}, {@code profile.json}, {@code tensorboard/}.
 *
 * <p>A loss or gradient that is not finite ends the run with the last good checkpoint, and says
 * where the first such number came from, or leaves the step out ({@link OnNan}).
 */
public final class TrainingRun {
  /**
   * How a run goes.
   *
   * @param budget how long
   * @param saving its checkpoints
   * @param watching what it measures and draws
   * @param onNan what happens when a loss is not finite
   * @param resume whether to go on from the checkpoint in the folder
   */
  public record Options(
      Budget budget, Saving saving, Watching watching, OnNan onNan, boolean resume) {
    /** Says everything that is wrong with the values. */
    public Options {
      List<String> wrong = new ArrayList<>();
      Integer steps = budget.steps;
      check(wrong, steps == null || steps > 0, "--steps must be positive; got ", steps);
      check(
          wrong,
          budget.minutes > 0 && budget.minutes <= 1e6,
          "--minutes must be positive, and 1e6 at most; got ",
          budget.minutes);
      positive(wrong, "--stop-after", budget.stopAfter);
      positive(wrong, "--checkpoint-steps", saving.steps);
      check(
          wrong,
          saving.seconds >= 0,
          "--checkpoint-seconds must not be negative; got ",
          saving.seconds);
      check(wrong, saving.keep >= 0, "--keep-checkpoints must not be negative; got ", saving.keep);
      positive(wrong, "--validation-steps", watching.validationSteps);
      positive(wrong, "--preview-steps", watching.previewSteps);
      check(wrong, watching.profile >= 0, "--profile must not be negative; got ", watching.profile);
      check(wrong, onNan.limit >= 0, "--nan-limit must not be negative; got ", onNan.limit);
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", wrong));
      }
    }

    private static void positive(List<String> wrong, String option, @Nullable Integer value) {
      check(wrong, value == null || value > 0, option + " must be positive; got ", value);
    }

    private static void check(
        List<String> wrong, boolean ok, String requirement, @Nullable Object value) {
      if (!ok) {
        wrong.add(requirement + value);
      }
    }

    /** A number of steps; a checkpoint each minute, and the one before it. */
    public static Options steps(int steps) {
      return of(new Budget(steps, 1, null));
    }

    /** An amount of time; a checkpoint each minute, and the one before it. */
    public static Options minutes(double minutes) {
      return of(new Budget(null, minutes, null));
    }

    private static Options of(Budget budget) {
      return new Options(budget, Saving.DEFAULT, Watching.NOTHING, OnNan.STOP, false);
    }

    /** The same with other checkpoints. */
    public Options saving(Saving how) {
      return new Options(budget, how, watching, onNan, resume);
    }

    /** The same, watched in another way. */
    public Options watching(Watching how) {
      return new Options(budget, saving, how, onNan, resume);
    }

    /** The same with another reaction to numbers that are not finite. */
    public Options onNan(OnNan reaction) {
      return new Options(budget, saving, watching, reaction, resume);
    }

    /** The same with an early end, or none. */
    public Options stopAfter(@Nullable Integer step) {
      Budget other = new Budget(budget.steps, budget.minutes, step);
      return new Options(other, saving, watching, onNan, resume);
    }

    /** The same with a checkpoint after so many steps, or after a time if null. */
    public Options checkpointSteps(@Nullable Integer count) {
      return saving(new Saving(count, saving.seconds, saving.keep, saving.asynchronous));
    }

    /** The same with another time from one checkpoint to the next. */
    public Options checkpointSeconds(double seconds) {
      return saving(new Saving(saving.steps, seconds, saving.keep, saving.asynchronous));
    }

    /** The same with another number of older checkpoints that stay. */
    public Options keep(int count) {
      return saving(new Saving(saving.steps, saving.seconds, count, saving.asynchronous));
    }

    /** The same, going on from a checkpoint or not. */
    public Options resume(boolean value) {
      return new Options(budget, saving, watching, onNan, value);
    }

    /** The same with events for TensorBoard, or without. */
    public Options events(boolean value) {
      return watching(
          new Watching(
              watching.validationSteps,
              watching.previewSteps,
              watching.profile,
              value,
              watching.histogramSteps));
    }

    /** The same with {@code share} of the time or steps, for one of several stages. */
    public Options share(double share) {
      Integer steps = budget.steps;
      Integer some = steps == null ? null : (Integer) (int) Math.max(1, Math.round(steps * share));
      Budget part = new Budget(some, budget.minutes * share, budget.stopAfter);
      return new Options(part, saving, watching, onNan, resume);
    }
  }

  /**
   * How long a run lasts.
   *
   * @param steps optimiser steps, or null for a time
   * @param minutes minutes of training steps, if {@code steps} is null; what is drawn, validated
   *     and saved between them comes on top
   * @param stopAfter a step at which the loop ends early; a later run may go on
   */
  public record Budget(@Nullable Integer steps, double minutes, @Nullable Integer stopAfter) {}

  /**
   * When checkpoints are written, and how.
   *
   * @param steps steps from one to the next, or null for a time
   * @param seconds seconds from one to the next by the clock, if {@code steps} is null
   * @param keep how many older ones stay
   * @param asynchronous whether training goes on while a copy of its state is written
   */
  public record Saving(@Nullable Integer steps, double seconds, int keep, boolean asynchronous) {
    /** One each minute, beside the training, and the one before it. */
    public static final Saving DEFAULT = new Saving(null, 60, 1, true);

    /** Whether a checkpoint is due. */
    boolean isDue(long stepsSince, double secondsSince) {
      return steps == null ? secondsSince > seconds : stepsSince >= steps;
    }
  }

  /**
   * What a run measures and draws on its way.
   *
   * @param validationSteps steps from one validation loss to the next, or null for none; see {@link
   *     TrainingRun#validation}
   * @param previewSteps steps from one picture to the next, or null for none; see {@link
   *     TrainingRun#preview}
   * @param profile steps whose time is taken by module, {@code profile.json}; 0 for none
   * @param events whether {@code tensorboard/} gets numbers and pictures, see {@link EventFile}
   * @param histogramSteps steps from one set of histograms of weights and gradients there to the
   *     next, or null for none
   */
  public record Watching(
      @Nullable Integer validationSteps,
      @Nullable Integer previewSteps,
      int profile,
      boolean events,
      @Nullable Integer histogramSteps) {
    /** Without histograms. */
    public Watching(
        @Nullable Integer validationSteps,
        @Nullable Integer previewSteps,
        int profile,
        boolean events) {
      this(validationSteps, previewSteps, profile, events, null);
    }

    /** The same with another distance of histograms, or none. */
    public Watching histogramSteps(@Nullable Integer steps) {
      return new Watching(validationSteps, previewSteps, profile, events, steps);
    }

    /** Losses and speed only. */
    public static final Watching NOTHING = new Watching(null, null, 0, false);
  }

  /**
   * What happens when a loss or a gradient is not finite.
   *
   * @param skip whether the step is left out; else the run ends
   * @param limit steps in a row that may be left out; one more ends the run
   */
  public record OnNan(boolean skip, int limit) {
    /** The run ends. */
    public static final OnNan STOP = new OnNan(false, 0);
  }

  /** Draws a picture of what the model can do so far. */
  @FunctionalInterface
  public interface Preview {
    /**
     * Draws, with equal random numbers each time; or leaves it if a signal comes meanwhile.
     *
     * @param png the file to write
     */
    void draw(Path png);
  }

  /** Batches that are held out. */
  record Held(Batches batches, int count) {}

  private final Path folder;
  private final Options options;
  private final Interrupts interrupts;
  private RunListener listener = RunListener.NONE;
  private @Nullable Held held;
  private @Nullable Preview preview;
  private LongSupplier clock = System::nanoTime;
  private @Nullable Path found; // the checkpoint to resume, once its files were checked

  /**
   * A run.
   *
   * @param folder where it writes; made if missing
   * @param options how it goes
   * @param interrupts a signal ends the loop after its step
   * @throws UncheckedIOException if the folder cannot be written
   */
  public TrainingRun(Path folder, Options options, Interrupts interrupts) {
    this.folder = folder;
    this.options = options;
    this.interrupts = interrupts;
    prepare();
  }

  /**
   * Tells somebody how far the run is.
   *
   * @param told instead of the one before
   * @return this run
   */
  public TrainingRun listener(RunListener told) {
    listener = told;
    return this;
  }

  /**
   * Says what {@link Watching#validationSteps} validates on.
   *
   * @param batches of pictures that are not trained on
   * @param count how many of them a validation takes
   * @return this run
   */
  public TrainingRun validation(Batches batches, int count) {
    held = new Held(batches, count);
    return this;
  }

  /**
   * Says what {@link Watching#previewSteps} draws.
   *
   * @return this run
   */
  public TrainingRun preview(Preview drawing) {
    preview = drawing;
    return this;
  }

  /** How it goes. */
  public Options options() {
    return options;
  }

  /** The folder of the checkpoint. */
  public Path checkpoint() {
    return folder.resolve("checkpoint");
  }

  /**
   * Whether a checkpoint shall be restored, after checking that it fits.
   *
   * @param settings what must be as it was
   * @return where that run stood, or null for a new run
   * @throws IllegalArgumentException if there is no checkpoint, or it is of another configuration
   */
  public Checkpoint.@Nullable State stateToResume(Map<String, String> settings) {
    if (!options.resume) {
      return null;
    }
    Checkpoint.State state = Checkpoint.readState(checkpointToRead());
    List<String> differences = state.differences(settings);
    require(
        differences.isEmpty(),
        "--resume: the checkpoint is of another configuration: " + String.join("; ", differences));
    return state;
  }

  /**
   * Trains.
   *
   * @param trainee what is trained
   * @param rate its learning rate
   * @param settings what must be equal when a later run goes on from the checkpoint
   * @param classNames the names of the classes, kept in the checkpoint
   * @return false if a signal ended it
   * @throws IllegalArgumentException if another run writes into the folder, or the checkpoint to
   *     resume does not fit
   * @throws IllegalStateException if the loss is not finite, or a file cannot be written
   */
  public boolean train(
      Trainee trainee, LearningRate rate, Map<String, String> settings, List<String> classNames) {
    try (RunLock lock = RunLock.take(folder)) {
      Checkpoint.State from = stateToResume(settings);
      if (from == null) {
        deleteOld("loss.csv");
        deleteOld("profile.json");
      } else {
        trainee.restore(checkpointToRead(), from.step());
      }
      listener.started(folder);
      train(trainee, rate, settings, classNames, from);
    }
    return !interrupts.requested();
  }

  private void train(
      Trainee trainee,
      LearningRate rate,
      Map<String, String> settings,
      List<String> classNames,
      Checkpoint.@Nullable State from) {
    try {
      new TrainingLoop(this, trainee, rate, settings, classNames).run(from);
      LossPlot.write(
          folder.resolve("loss.png"), LossCsv.read(folder.resolve("loss.csv")), LossPlot.options());
      listener.ended(folder);
    } catch (TensorFileException | UncheckedIOException e) {
      throw new IllegalStateException(e.getMessage(), e); // a full disk is no wrong input
    }
  }

  /** A checkpoint was put into its place. */
  void saved(long step) {
    found = null;
    listener.saved(folder, step);
  }

  /** Another clock, in nanoseconds; for tests. */
  TrainingRun clock(LongSupplier nanos) {
    clock = nanos;
    return this;
  }

  LongSupplier clock() {
    return clock;
  }

  Path folder() {
    return folder;
  }

  boolean isInterrupted() {
    return interrupts.requested();
  }

  /**
   * What is validated on.
   *
   * @throws IllegalArgumentException if there is nothing
   */
  Held held() {
    require(held != null, "--validation-steps: this run has no pictures that were held out");
    return Objects.requireNonNull(held);
  }

  /**
   * What draws previews.
   *
   * @throws IllegalArgumentException if there is nothing
   */
  Preview preview() {
    require(preview != null, "--preview-steps: this run has nothing to draw");
    return Objects.requireNonNull(preview);
  }

  private Path checkpointToRead() {
    Path known = found == null ? Checkpoint.find(checkpoint()) : found;
    if (known == null) {
      throw new IllegalArgumentException("--resume: there is no checkpoint in " + checkpoint());
    }
    found = known;
    return known;
  }

  private void prepare() {
    try {
      Files.createDirectories(folder);
      Files.delete(Files.createTempFile(folder, ".writable", ""));
    } catch (IOException e) {
      String reason = e instanceof FileSystemException f ? f.getReason() : e.getMessage();
      throw new UncheckedIOException(
          "--out "
              + folder
              + ": cannot be written: "
              + (Files.isRegularFile(folder)
                  ? "is a file"
                  : e.getClass().getSimpleName() + (reason == null ? "" : ": " + reason)),
          e);
    }
  }

  /** Removes a file of another run that was here before. */
  private void deleteOld(String name) {
    try {
      Files.deleteIfExists(folder.resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(folder.resolve(name) + ": cannot be replaced", e);
    }
  }

  private static void require(boolean ok, String message) {
    if (!ok) {
      throw new IllegalArgumentException(message);
    }
  }
}
