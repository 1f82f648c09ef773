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
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The loop of a training run in a folder of its own: steps until the budget is spent or a signal
 * comes, a line of {@code loss.csv} per step, {@code checkpoint/} from time to time and at the end,
 * {@code loss.png}. A loss that is not finite ends the run and leaves the last good checkpoint.
 */
public final class TrainingRun {
  /**
   * How a run goes.
   *
   * @param steps optimiser steps, or null for a time
   * @param minutes minutes of training, if {@code steps} is null
   * @param stopAfter a step at which the loop ends early; a later run may go on
   * @param checkpointSteps steps from one checkpoint to the next, or null for a time
   * @param checkpointSeconds seconds from one checkpoint to the next, if {@code checkpointSteps} is
   *     null
   * @param keep how many older checkpoints stay
   * @param resume whether to go on from the checkpoint in the folder
   * @param events whether {@code tensorboard/} gets loss and learning rate, see {@link EventFile}
   */
  public record Options(
      @Nullable Integer steps,
      double minutes,
      @Nullable Integer stopAfter,
      @Nullable Integer checkpointSteps,
      double checkpointSeconds,
      int keep,
      boolean resume,
      boolean events) {
    /** Says what is wrong with the values. */
    public Options {
      require(steps == null || steps > 0, "--steps must be positive; got " + steps);
      require(
          minutes > 0 && minutes <= 1e6,
          "--minutes must be positive, and 1e6 at most; got " + minutes);
      require(
          stopAfter == null || stopAfter > 0, "--stop-after must be positive; got " + stopAfter);
      require(
          checkpointSteps == null || checkpointSteps > 0,
          "--checkpoint-steps must be positive; got " + checkpointSteps);
      require(
          checkpointSeconds >= 0,
          "--checkpoint-seconds must not be negative; got " + checkpointSeconds);
      require(keep >= 0, "--keep-checkpoints must not be negative; got " + keep);
    }

    /** A number of steps; a checkpoint each minute, and the one before it. */
    public static Options steps(int steps) {
      return new Options(steps, 1, null, null, 60, 1, false, false);
    }

    /** An amount of time; a checkpoint each minute, and the one before it. */
    public static Options minutes(double minutes) {
      return new Options(null, minutes, null, null, 60, 1, false, false);
    }

    /** The same with an early end, or none. */
    public Options stopAfter(@Nullable Integer step) {
      return new Options(
          steps, minutes, step, checkpointSteps, checkpointSeconds, keep, resume, events);
    }

    /** The same with a checkpoint after so many steps, or after a time if null. */
    public Options checkpointSteps(@Nullable Integer count) {
      return new Options(steps, minutes, stopAfter, count, checkpointSeconds, keep, resume, events);
    }

    /** The same with another time from one checkpoint to the next. */
    public Options checkpointSeconds(double seconds) {
      return new Options(steps, minutes, stopAfter, checkpointSteps, seconds, keep, resume, events);
    }

    /** The same with another number of older checkpoints that stay. */
    public Options keep(int count) {
      return new Options(
          steps, minutes, stopAfter, checkpointSteps, checkpointSeconds, count, resume, events);
    }

    /** The same, going on from a checkpoint or not. */
    public Options resume(boolean value) {
      return new Options(
          steps, minutes, stopAfter, checkpointSteps, checkpointSeconds, keep, value, events);
    }

    /** The same with events for TensorBoard, or without. */
    public Options events(boolean value) {
      return new Options(
          steps, minutes, stopAfter, checkpointSteps, checkpointSeconds, keep, resume, value);
    }

    /** The same with {@code share} of the time or steps, for one of several stages. */
    public Options share(double share) {
      Integer some = steps == null ? null : (Integer) (int) Math.max(1, Math.round(steps * share));
      return new Options(
          some,
          minutes * share,
          stopAfter,
          checkpointSteps,
          checkpointSeconds,
          keep,
          resume,
          events);
    }

    /** Whether a checkpoint is due. */
    boolean isDue(long stepsSince, double secondsSince) {
      return checkpointSteps == null
          ? secondsSince > checkpointSeconds
          : stepsSince >= checkpointSteps;
    }
  }

  private final Path folder;
  private final Options options;
  private final Interrupts interrupts;
  private RunListener listener = RunListener.NONE;
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
        deleteOldLosses();
      } else {
        trainee.restore(checkpointToRead(), from.step());
      }
      listener.started(folder);
      train(trainee, rate, settings, classNames, from == null ? 0 : from.seconds());
    }
    return !interrupts.requested();
  }

  private void train(
      Trainee trainee,
      LearningRate rate,
      Map<String, String> settings,
      List<String> classNames,
      double before) {
    try {
      loop(trainee, rate, settings, classNames, before);
      LossPlot.write(
          folder.resolve("loss.png"), LossCsv.read(folder.resolve("loss.csv")), LossPlot.options());
      listener.ended(folder);
    } catch (TensorFileException | UncheckedIOException e) {
      throw new IllegalStateException(e.getMessage(), e); // a full disk is no wrong input
    }
  }

  private void loop(
      Trainee trainee,
      LearningRate rate,
      Map<String, String> settings,
      List<String> classNames,
      double before) {
    long start = System.nanoTime();
    double budget = 60 * options.minutes;
    long total = options.steps == null ? 0 : options.steps;
    double savedAt = before;
    long savedStep = trainee.steps();
    double seconds = before;
    Path board = folder.resolve("tensorboard");
    try (LossCsv csv = LossCsv.resume(folder.resolve("loss.csv"), trainee.steps() + 1);
        EventFile events = options.events ? EventFile.open(board, trainee.steps() + 1) : null;
        Progress bar = Progress.open("training", total > 0 ? total : Math.round(budget))) {
      while (!interrupts.requested()) {
        seconds = before + (System.nanoTime() - start) * 1e-9;
        double progress =
            total > 0 ? (double) trainee.steps() / total : Math.min(1, seconds / budget);
        if (progress >= 1 || (options.stopAfter != null && trainee.steps() >= options.stopAfter)) {
          break;
        }
        double now = rate.at(trainee.steps(), progress);
        double loss;
        try {
          loss = trainee.step(now).loss();
        } catch (NonFiniteException e) {
          throw new IllegalStateException(
              e.what()
                  + " at step "
                  + (trainee.steps() + 1)
                  + ": "
                  + e.where()
                  + "; the last good checkpoint is in "
                  + checkpoint(),
              e);
        }
        csv.append(new LossCsv.Row(trainee.steps(), loss, now, seconds));
        if (events != null) {
          events.scalar("loss", trainee.steps(), loss);
          events.scalar("learning_rate", trainee.steps(), now);
        }
        bar.at(
            total > 0 ? trainee.steps() : Math.round(seconds),
            String.format("step %d loss %.4f", trainee.steps(), loss));
        if (options.isDue(trainee.steps() - savedStep, seconds - savedAt)) {
          savedAt = seconds;
          savedStep = trainee.steps();
          save(trainee, new Checkpoint.State(trainee.steps(), seconds, settings, classNames));
        }
      }
    }
    save(trainee, new Checkpoint.State(trainee.steps(), seconds, settings, classNames));
  }

  private void save(Trainee trainee, Checkpoint.State state) {
    Checkpoint.save(checkpoint(), options.keep, state, trainee::save);
    found = null;
    listener.saved(folder, state.step());
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

  private void deleteOldLosses() {
    try {
      Files.deleteIfExists(folder.resolve("loss.csv"));
    } catch (IOException e) {
      throw new UncheckedIOException(folder.resolve("loss.csv") + ": cannot be replaced", e);
    }
  }

  private static void require(boolean ok, String message) {
    if (!ok) {
      throw new IllegalArgumentException(message);
    }
  }
}
