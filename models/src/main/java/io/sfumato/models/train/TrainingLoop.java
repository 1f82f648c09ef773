// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.LossCsv;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Backends;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/** The steps of one {@link TrainingRun}, and what comes between them. */
final class TrainingLoop {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  private final TrainingRun run;
  private final TrainingRun.Options options;
  private final Trainee trainee;
  private final LearningRate rate;
  private final Map<String, String> settings;
  private final List<String> classNames;
  private final Backend backend;
  private final ModuleProfile profile;
  private final @Nullable Integer validationSteps;
  private final Previews previews;
  private final LongSupplier clock;
  private @Nullable Double best;
  private double seconds; // of steps alone
  private long validated = -1;
  private int leftOut;

  TrainingLoop(
      TrainingRun run,
      Trainee trainee,
      LearningRate rate,
      Map<String, String> settings,
      List<String> classNames) {
    this.run = run;
    this.options = run.options();
    this.clock = run.clock();
    this.trainee = trainee;
    this.rate = rate;
    this.settings = settings;
    this.classNames = classNames;
    this.backend =
        Backends.of(trainee.updates().getFirst().parameters().getFirst().value().device());
    this.profile = new ModuleProfile(options.watching().profile());
    this.validationSteps = options.watching().validationSteps();
    Integer previewSteps = options.watching().previewSteps();
    this.previews =
        new Previews(
            run.folder().resolve("previews"),
            previewSteps,
            previewSteps == null ? null : run.preview());
    if (validationSteps != null) {
      Objects.requireNonNull(run.held());
      String reason = trainee.noValidation();
      if (reason != null) {
        throw new IllegalArgumentException("--validation-steps: " + reason);
      }
    }
  }

  /** The files that get a line per step. */
  private record StepFiles(LossCsv csv, MetricsFile metrics, @Nullable EventFile events)
      implements AutoCloseable {
    void picture(String name, long step, @Nullable Path png) {
      if (events != null && png != null) {
        events.image(name, step, png);
      }
    }

    void scalar(String name, long step, double value) {
      if (events != null) {
        events.scalar(name, step, value);
      }
    }

    @Override
    public void close() {
      try (csv;
          metrics;
          events) {
        // closes all three
      }
    }
  }

  /**
   * Trains until the budget is spent or a signal comes. Of a run that lasts a time, the time of its
   * steps counts: what is drawn, validated and saved between them makes it longer.
   *
   * @param from where the run stood, or null for a new one
   */
  void run(Checkpoint.@Nullable State from) {
    best = from == null ? null : from.bestLoss();
    seconds = from == null ? 0 : from.seconds();
    double budget = 60 * options.budget().minutes();
    long total = options.budget().steps() == null ? 0 : options.budget().steps();
    Integer stopAfter = options.budget().stopAfter();
    long savedAt = clock.getAsLong();
    long savedStep = trainee.steps();
    boolean over = false;
    previews.dropAfter(trainee.steps());
    try (CheckpointWriter writer = new CheckpointWriter(options.saving().asynchronous());
        StepFiles files = open();
        Progress bar = Progress.open("training", total > 0 ? total : Math.round(budget))) {
      Histograms histograms =
          new Histograms(files.events, options.watching().histogramSteps(), trainee);
      while (!run.isInterrupted()) {
        double progress =
            total > 0 ? (double) trainee.steps() / total : Math.min(1, seconds / budget);
        over = progress >= 1;
        if (over || (stopAfter != null && trainee.steps() >= stopAfter)) {
          break;
        }
        writer.check();
        histograms.beforeStep();
        double loss = step(rate.at(trainee.steps(), progress), files, writer);
        histograms.afterStep();
        bar.at(
            total > 0 ? trainee.steps() : Math.round(seconds),
            String.format(Locale.ROOT, "step %d loss %.4f", trainee.steps(), loss));
        if (validationSteps != null && trainee.steps() % validationSteps == 0) {
          validate(files, writer);
        }
        files.picture("previews", trainee.steps(), previews.after(trainee.steps()));
        if (options.saving().isDue(trainee.steps() - savedStep, since(savedAt))) {
          savedAt = clock.getAsLong();
          savedStep = trainee.steps();
          save(writer);
        }
      }
      if (validationSteps != null && over) {
        validate(files, writer);
      }
      save(writer);
      profile.write(run.folder().resolve("profile.json"));
    }
  }

  private StepFiles open() {
    long next = trainee.steps() + 1;
    Path folder = run.folder();
    Path board = folder.resolve("tensorboard");
    return new StepFiles(
        LossCsv.resume(folder.resolve("loss.csv"), next),
        MetricsFile.open(folder.resolve("metrics.jsonl"), next),
        options.watching().events() ? EventFile.open(board, next) : null);
  }

  private double step(double learningRate, StepFiles files, CheckpointWriter writer) {
    long start = clock.getAsLong();
    StepResult result;
    try {
      result = profile.step(() -> trainee.step(learningRate));
    } catch (NonFiniteException e) {
      seconds += since(start);
      leaveOut(e, files, writer);
      return Double.NaN;
    }
    leftOut = 0;
    long step = trainee.steps();
    double took = since(start);
    seconds += took;
    MemoryStats memory = backend.memory();
    MetricsFile.Line line =
        new MetricsFile.Line(step, seconds)
            .put("loss", result.loss())
            .put("learning_rate", learningRate)
            .put("gradient_norm", result.gradientNorm())
            .put("images_per_second", result.pictures() / took)
            .put("live_bytes", memory.live())
            .put("peak_bytes", memory.peak());
    trainee.figures().forEach(line::put);
    for (Update update : trainee.updates()) {
      if (update.lossScale() != null) {
        line.put("loss_scale", update.lossScale().scale());
      }
    }
    if (result.skipped()) {
      line.put("skipped", "gradients overflowed in f16");
      LOG.log(
          System.Logger.Level.INFO,
          () -> "step " + step + ": gradients overflowed in f16; the loss scale shrinks");
    }
    files.metrics.append(line);
    files.csv.append(new LossCsv.Row(step, result.loss(), learningRate, seconds));
    files.scalar("loss", step, result.loss());
    files.scalar("learning_rate", step, learningRate);
    files.scalar("gradient_norm", step, result.gradientNorm());
    return result.loss();
  }

  /** Seconds that have passed. */
  private double since(long start) {
    return (clock.getAsLong() - start) * 1e-9;
  }

  /** Leaves a step out, or ends the run. */
  private void leaveOut(NonFiniteException e, StepFiles files, CheckpointWriter writer) {
    long step = trainee.steps() + 1;
    String what =
        e.what() + " at step " + step + ": " + e.where() + "; in " + trainee.describe(e.batch());
    leftOut++;
    TrainingRun.OnNan reaction = options.onNan();
    if (!reaction.skip() || leftOut > reaction.limit()) {
      writer.await();
      Path checkpoint = run.checkpoint();
      throw new IllegalStateException(
          what
              + (reaction.skip() ? "; " + leftOut + " steps in a row, more than --nan-limit" : "")
              + (Files.exists(checkpoint)
                  ? "; the last good checkpoint is in " + checkpoint
                  : "; there is no checkpoint yet"),
          e);
    }
    LOG.log(System.Logger.Level.WARNING, what + "; the step is left out");
    files.metrics.append(new MetricsFile.Line(step, seconds).put("skipped", what));
    trainee.skip();
  }

  private void validate(StepFiles files, CheckpointWriter writer) {
    long step = trainee.steps();
    if (validated == step) {
      return;
    }
    validated = step;
    TrainingRun.Held held = run.held();
    double loss = trainee.validationLoss(held.batches(), held.count());
    files.metrics.append(new MetricsFile.Line(step, seconds).put("validation_loss", loss));
    files.scalar("validation_loss", step, loss);
    Double lowest = best;
    if (Double.isFinite(loss) && (lowest == null || loss < lowest)) {
      best = loss;
      writer.save(run.folder().resolve("checkpoint-best"), 0, state(), trainee::save, () -> {});
    }
  }

  private void save(CheckpointWriter writer) {
    long step = trainee.steps();
    writer.save(
        run.checkpoint(), options.saving().keep(), state(), trainee::save, () -> run.saved(step));
  }

  private Checkpoint.State state() {
    return new Checkpoint.State(trainee.steps(), seconds, settings, classNames, best);
  }
}
