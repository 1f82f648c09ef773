// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.EffectiveConfig;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Program;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.distributed.Collectives;
import io.sfumato.models.distributed.Ranks;
import io.sfumato.models.distributed.Team;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Backends;
import java.nio.file.Path;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The options that all training examples have. */
final class ExampleOptions implements Checked {
  @Spec(Spec.Target.MIXEE)
  private @Nullable CommandSpec spec;

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
      description =
          "Side of the pictures; 16 (latent: 32) for shapes, the data's own for MNIST and"
              + " CIFAR-10.")
  private @Nullable Integer size;

  @Option(names = "--seed", description = "Seed of everything random.", defaultValue = "0")
  private long seed;

  @Option(names = "--device", description = "cpu, cuda, cuda:1, …; the best there is if absent.")
  private @Nullable String device;

  @Option(names = "--threads", description = "Threads on the CPU; all cores if absent.")
  private @Nullable Integer threads;

  @Option(names = "--samples-per-class", description = "Pictures to draw.", defaultValue = "8")
  private int samplesPerClass;

  @Option(
      names = "--checkpoint-seconds",
      description = "Seconds from one checkpoint to the next; there is one at the end, too.",
      defaultValue = "60")
  private double checkpointSeconds;

  @Option(
      names = "--checkpoint-steps",
      description = "Steps from one checkpoint to the next, instead of --checkpoint-seconds.")
  private @Nullable Integer checkpointSteps;

  @Option(
      names = "--keep-checkpoints",
      description = "Older checkpoints that stay, should the newest be damaged.",
      defaultValue = "1")
  private int keep;

  @Option(
      names = "--stop-after",
      description = "Draw samples at this step already; --resume goes on from there.")
  private @Nullable Integer stopAfter;

  @Option(
      names = "--tensorboard",
      description = "Write events for TensorBoard to tensorboard/ in --out, too.")
  private boolean tensorboard;

  @Option(
      names = "--histogram-steps",
      description =
          "Steps from one set of histograms of weights and gradients in tensorboard/ to the next;"
              + " none if absent.")
  private @Nullable Integer histogramSteps;

  @Option(
      names = "--report-at-checkpoints",
      description = "Write report.html with every checkpoint, too, not only at the end.")
  private boolean reportAtCheckpoints;

  @Option(names = "--resume", description = "Go on from the checkpoint in --out.")
  private boolean resume;

  @Mixin(name = "data")
  private final DataOptions data = new DataOptions();

  private boolean takesCaptions;
  private boolean recordsSteps;

  @Mixin(name = "optimizer")
  private final UpdateFlags updating = new UpdateFlags();

  @Mixin(name = "processes")
  private final TeamFlags processes = new TeamFlags();

  @Mixin(name = "loop")
  private final RunFlags running = new RunFlags();

  /** What the run measures and draws. */
  RunFlags running() {
    return running;
  }

  /** How steps are made. */
  UpdateFlags updating() {
    return updating;
  }

  /** The seed of everything random. */
  long seed() {
    return seed;
  }

  /** Where results go. */
  Path out() {
    return out;
  }

  /** Writes the options, as the program was given them, to {@code config.yaml} in a folder. */
  void writeConfig(Path folder) {
    if (spec != null) {
      EffectiveConfig.write(spec, folder.resolve("config.yaml"));
    }
  }

  /** Whether there is a report with every checkpoint. */
  boolean reportsAtCheckpoints() {
    return reportAtCheckpoints;
  }

  /** What is learned from, and how it is shown. */
  DataOptions data() {
    return data;
  }

  /** The same options for a program that can learn from captions. */
  ExampleOptions takingCaptions() {
    takesCaptions = true;
    return this;
  }

  /** The same options for a program whose steps can be recorded. */
  ExampleOptions recordingSteps() {
    recordsSteps = true;
    return this;
  }

  /** Pictures to draw of each class. */
  int samplesPerClass() {
    return samplesPerClass;
  }

  /** Pictures per step. */
  int batch() {
    if (batch != null) {
      return batch;
    }
    return data.isGiven() ? 32 : 24;
  }

  @Override
  public void check(Problems problems) {
    problems.require(minutes == null || steps == null, "--minutes and --steps exclude each other");
    problems.attempt(this::runOptions);
    problems.require(
        histogramSteps == null || histogramSteps > 0,
        "--histogram-steps must be positive; got " + histogramSteps);
    problems.require(
        histogramSteps == null || tensorboard, "--histogram-steps needs --tensorboard");
    problems.require(batch == null || batch > 0, "--batch must be positive; got " + batch);
    problems.require(
        size == null || (size >= 8 && size <= 512), "--size must be 8 to 512; got " + size);
    problems.require(
        threads == null || (threads > 0 && threads <= 1024),
        "--threads must be 1 to 1024; got " + threads);
    problems.require(
        samplesPerClass > 0 && samplesPerClass <= 1000,
        "--samples-per-class must be 1 to 1000; got " + samplesPerClass);
    problems.attempt("--device", this::where);
    updating.check(problems, steps);
    if (updating.graph()) {
      checkGraph(problems);
    }
    data.check(problems, takesCaptions, size);
    running.check(problems);
  }

  /** Why a step cannot be recorded. */
  private void checkGraph(Problems problems) {
    String option = "--cuda-graph: ";
    problems.require(
        recordsSteps,
        option + "the steps of this program need new numbers of the host; ddpm, dit and flow can");
    problems.attempt(
        () ->
            Program.require(
                !where().isCpu(), option + "the cpu has no launches to save; it is for cuda"));
    problems.require(
        !data.hasBuckets(), option + "a recorded step has one shape; --buckets has several");
    problems.require(
        !running.profiles(), option + "--profile sees ops one by one, and a graph is one launch");
    problems.require(
        Ranks.started() == 1,
        option + "it is for one process; mpirun has started " + Ranks.started());
  }

  private TrainingRun.Options runOptions() {
    return new TrainingRun.Options(
        new TrainingRun.Budget(steps, minutes == null ? 1.5 : minutes, stopAfter),
        new TrainingRun.Saving(checkpointSteps, checkpointSeconds, keep, running.asynchronous()),
        running.watching(tensorboard).histogramSteps(histogramSteps),
        running.onNan(),
        resume);
  }

  /** The device; fails, with the reason, if there is none such. */
  private Device where() {
    Device where = device == null ? Backends.best() : Device.parse(device);
    if (!where.isCpu() && Ranks.onThisMachine() > 1 && (device == null || !device.contains(":"))) {
      where = new Device(where.kind(), Ranks.numberOnThisMachine()); // one for each process
    }
    Backends.of(where);
    return where;
  }

  /** Joins the other processes, if mpirun has started several, and opens the data. */
  Workbench open() {
    return open(world -> world.plain(true).resolution(16));
  }

  /** The same with another kind of built-in shapes. */
  Workbench open(UnaryOperator<ShapesWorld.Options> shapes) {
    Device device = where();
    Collectives ranks = processes.join(device);
    if (threads != null) {
      Parallel.setThreads(threads);
    } else if (ranks.size() > 1) {
      Parallel.setThreads(Math.max(1, Parallel.threads() / Ranks.onThisMachine()));
    }
    return new Workbench(
        this, runOptions(), openData(shapes), device, new Team(ranks, processes.options()));
  }

  private ImageDataset openData(UnaryOperator<ShapesWorld.Options> shapes) {
    if (!data.isGiven()) {
      ShapesWorld.Options usual = shapes.apply(ShapesWorld.options()).seed(seed);
      int side = size == null ? usual.resolution() : size;
      ShapesWorld world = new ShapesWorld(usual.resolution(side));
      return side > 64 ? world : InMemoryImageDataset.copyOf(world); // else drawn when needed
    }
    return data.open(size);
  }
}
