// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.autograd.GradientListener;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.GradientExchange;
import io.sfumato.models.train.NonFiniteException;
import io.sfumato.models.train.StepResult;
import io.sfumato.models.train.Trainee;
import io.sfumato.models.train.Update;
import io.sfumato.models.train.UpdateOptions;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The processes of one run. Rank 0 leads: the loop of the run, its files, validation, previews are
 * its own, and what the others must do with it (a step, a checkpoint, the end) it tells them. Each
 * computes its share of every batch.
 *
 * {@snippet :
 * try (Team team = new Team(Ranks.join(), ParallelOptions.usual())) {
 *   UpdateOptions how = UpdateOptions.adamW().exchange(team);
 *   Batches own = new BatchLoader(pictures, options, team.share(), …);
 *   Trainee trainer = new DiffusionTrainer(…, how, own, …);
 *   team.begin(settings);
 *   if (team.leads()) {
 *     run.train(team.leading(trainer), …);
 *     team.end();
 *   } else {
 *     team.follow(trainer);
 *   }
 * }
 * }
 */
public final class Team implements GradientExchange, AutoCloseable {
  /** What rank 0 tells the others. */
  private enum Command {
    STEP,
    SKIP,
    RESTORE,
    SAVE,
    END
  }

  private final Collectives ranks;
  private final ParallelOptions options;
  private final BatchShare share;
  private final List<DataParallel> models = new ArrayList<>();
  private final IdentityHashMap<DataParallel, List<Parameter>> buffers = new IdentityHashMap<>();
  private final List<ShardedOptimizer> sharded = new ArrayList<>();
  private final IdentityHashMap<Parameter, DataParallel> byParameter = new IdentityHashMap<>();
  private boolean complete; // whether the last run that began has ended
  private long began;
  private long stepsBegan;
  private long steps;
  private Traffic before = new Traffic(0, 0, 0, 0);

  /** The processes that were joined; closed with this object. */
  public Team(Collectives ranks, ParallelOptions options) {
    this.ranks = ranks;
    this.options = options;
    this.share = new BatchShare(ranks.rank(), ranks.size());
  }

  /** The number of processes. */
  public int size() {
    return ranks.size();
  }

  /** Whether this process has the run: its loop, its files, what it says. */
  public boolean leads() {
    return ranks.rank() == 0;
  }

  /** Which part of a batch this process computes. */
  public BatchShare share() {
    return share;
  }

  /** What carries the messages, and how the work is shared. */
  public String description() {
    return String.format(
        Locale.ROOT,
        "%s, buckets of %.1f MiB%s",
        ranks.description(),
        options.bucketBytes() / 1048576.0,
        options.zero() ? ", each keeping its share of the optimiser's state" : "");
  }

  // ---- the step

  @Override
  public Optimizer optimizer(List<ParameterGroup> groups, UpdateOptions how) {
    List<Parameter> all = groups.stream().flatMap(g -> g.parameters().stream()).toList();
    complete = false;
    DataParallel model = new DataParallel(ranks, options, all);
    models.add(model);
    all.forEach(p -> byParameter.put(p, model));
    Optimizer optimizer =
        model.optimizer(groups, some -> GradientExchange.super.optimizer(some, how));
    if (optimizer instanceof ShardedOptimizer own) {
      sharded.add(own);
    }
    return optimizer;
  }

  private DataParallel of(List<Parameter> parameters) {
    DataParallel model = byParameter.get(parameters.getFirst());
    if (model == null) {
      throw new IllegalStateException(
          parameters.getFirst() + " has no optimizer that this team has made");
    }
    return model;
  }

  @Override
  public @Nullable GradientListener listener(List<Parameter> parameters) {
    return of(parameters).listener();
  }

  @Override
  public Gradients average(List<Parameter> parameters, Gradients own) {
    return of(parameters).average(own);
  }

  @Override
  public void common(List<Parameter> parameters, List<Parameter> further) {
    buffers.put(of(parameters), List.copyOf(further));
  }

  @Override
  public double average(double own) {
    return mean(own)[0];
  }

  /** The means over all ranks, added in their order. */
  private double[] mean(double... own) {
    if (ranks.size() == 1) {
      return own;
    }
    try (Scope scope = Scope.open()) {
      Tensor values = Tensor.of(own, own.length);
      ranks.allReduce(values, Collectives.Reduction.SUM).await();
      double[] sums = values.toDoubleArray();
      Arrays.setAll(sums, i -> sums[i] / ranks.size());
      return sums;
    }
  }

  /**
   * Runs a part of a step, in which this rank computes its share of a batch and hears of the others
   * what depends on all of it. All ranks must run it together.
   */
  public <R> R run(Supplier<R> body) {
    return share.run(this::mean, body);
  }

  /**
   * Lets rank 0 do something before the others do it, who wait as long as it takes: write files
   * that they then find, say.
   */
  public <R> R leaderFirst(Supplier<R> body) {
    if (ranks.size() == 1) {
      return body.get();
    }
    if (leads()) {
      R result = body.get();
      ranks.exchange(new byte[0]);
      return result;
    }
    ranks.exchange(new byte[0]);
    return body.get();
  }

  /**
   * What rank 0 says, on all ranks, which must ask together. Waits as long as rank 0 takes.
   *
   * @param own what this rank would say
   */
  public boolean ofLeader(boolean own) {
    return ranks.size() == 1 ? own : ranks.exchange(new byte[] {(byte) (own ? 1 : 0)})[0][0] != 0;
  }

  @Override
  public double norm(List<Parameter> parameters, Gradients mean) {
    return of(parameters).norm(mean);
  }

  // ---- the run

  /**
   * Checks that all ranks train the same with the same settings, and gives them rank 0's weights.
   *
   * @param settings what must be equal
   * @throws CollectiveException on every rank, with the differences
   */
  public void begin(Map<String, String> settings) {
    complete = false;
    Agreement.check(ranks, "their settings", settings);
    giveAll();
    began = 0;
  }

  /** Everybody gets what rank 0 has. */
  private void giveAll() {
    models.forEach(m -> m.begin(buffers.getOrDefault(m, List.of())));
  }

  /** The trainee as rank 0's loop sees it: each step is one of all ranks. */
  public Trainee leading(Trainee own) {
    return new LedTrainee(own);
  }

  /**
   * Does what rank 0 does until that says it is enough.
   *
   * @param own what this rank trains
   */
  public void follow(Trainee own) {
    while (true) {
      ByteBuffer message = ByteBuffer.wrap(ranks.exchange(new byte[0])[0]);
      Command command = Command.values()[message.get()];
      switch (command) {
        case STEP -> {
          double rate = message.getDouble();
          try {
            run(() -> own.step(rate));
          } catch (NonFiniteException e) {
            // Rank 0 has it, too, and decides what comes next.
          }
          stepped(own.steps());
        }
        case SKIP -> own.skip();
        case RESTORE -> {
          long step = message.getLong();
          byte[] path = new byte[message.remaining()];
          message.get(path);
          restore(own, Path.of(new String(path, StandardCharsets.UTF_8)), step);
        }
        case SAVE -> save();
        case END -> {
          forget();
          return;
        }
      }
    }
  }

  private void tell(Command command, byte... content) {
    ByteBuffer message = ByteBuffer.allocate(1 + content.length);
    message.put((byte) command.ordinal()).put(content);
    ranks.exchange(message.array());
  }

  private void stepped(long done) {
    if (began == 0) {
      began = System.nanoTime(); // after the first step, in which buckets are put in order
      before = ranks.traffic();
      stepsBegan = done;
    }
    steps = done;
    if (options.checkSteps() > 0 && done % options.checkSteps() == 0) {
      models.forEach(DataParallel::checkSame);
    }
  }

  private void restore(Trainee own, Path folder, long step) {
    own.restore(folder, step);
    giveAll();
  }

  private void save() {
    models.forEach(DataParallel::checkSame);
    sharded.forEach(ShardedOptimizer::consolidate);
  }

  /** Rank 0 tells the others that the run is over; {@link #follow} returns there. */
  public void end() {
    tell(Command.END);
    forget();
  }

  /** What is trained next, if anything is, are other models. */
  private void forget() {
    models.clear();
    sharded.clear();
    byParameter.clear();
    buffers.clear();
    complete = true;
  }

  /** What communication has cost this rank since the first step, in a line; empty before. */
  public String cost() {
    long done = steps - stepsBegan;
    if (done <= 0) {
      return "";
    }
    double seconds = (System.nanoTime() - began) * 1e-9;
    Traffic traffic = ranks.traffic().since(before);
    return String.format(
        Locale.ROOT,
        "communication: %.2f s of %.2f s, of which %.2f s hidden behind computing and %.2f s (%.1f"
            + " %%) waited for; %.1f MB sent per step",
        traffic.seconds(),
        seconds,
        traffic.hidden(),
        traffic.waited(),
        100 * traffic.waited() / seconds,
        traffic.bytes() * 1e-6 / done);
  }

  /**
   * Ends all processes because this one cannot go on. Does not return.
   *
   * @param failure why
   * @param say prints a line
   */
  public void abort(Throwable failure, Consumer<String> say) {
    String reason = failure.getMessage() == null ? failure.toString() : failure.getMessage();
    if (!leads()) {
      pause(); // if rank 0 says the same, once is enough
    }
    say.accept("rank " + ranks.rank() + ": " + reason);
    ranks.abort(reason, 1);
    Runtime.getRuntime().halt(1); // the library was not able to
  }

  private static void pause() {
    try {
      Thread.sleep(500);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Says good-bye, once all ranks are here; others than rank 0 wait for it quietly. After a failure
   * there is nobody to say it to.
   */
  @Override
  public void close() {
    if (complete) {
      if (ranks.size() > 1) {
        ranks.exchange(new byte[0]);
      }
      ranks.close();
    }
  }

  /** Tells the others, then does it itself. */
  private final class LedTrainee implements Trainee {
    private final Trainee own;
    private Traffic last = new Traffic(0, 0, 0, 0);

    LedTrainee(Trainee own) {
      this.own = own;
    }

    @Override
    public long steps() {
      return own.steps();
    }

    @Override
    public StepResult step(double learningRate) {
      Traffic earlier = ranks.traffic();
      tell(Command.STEP, ByteBuffer.allocate(8).putDouble(learningRate).array());
      StepResult part;
      try {
        part = run(() -> own.step(learningRate));
      } catch (NonFiniteException e) {
        stepped(own.steps()); // as the others do
        throw e;
      }
      stepped(own.steps());
      last = ranks.traffic().since(earlier);
      return new StepResult(
          part.loss(), part.gradientNorm(), part.pictures() * ranks.size(), part.skipped());
    }

    @Override
    public Map<String, Double> figures() {
      Map<String, Double> figures = new TreeMap<>(own.figures());
      if (ranks.size() == 1) {
        return figures;
      }
      figures.put("communication_seconds", last.seconds());
      figures.put("communication_waited_seconds", last.waited());
      figures.put("communication_bytes", (double) last.bytes());
      return figures;
    }

    @Override
    public void rehearse() {
      own.rehearse();
    }

    @Override
    public @Nullable String noValidation() {
      return own.noValidation();
    }

    @Override
    public <T> T average(Supplier<T> body) {
      return own.average(body);
    }

    @Override
    public double validationLoss(Batches held, int count) {
      return own.validationLoss(held, count);
    }

    @Override
    public List<Update> updates() {
      return own.updates();
    }

    @Override
    public String describe(long number) {
      return own.describe(number);
    }

    @Override
    public void skip() {
      tell(Command.SKIP);
      own.skip();
    }

    @Override
    public void restore(Path folder, long step) {
      byte[] path = folder.toAbsolutePath().toString().getBytes(StandardCharsets.UTF_8);
      tell(Command.RESTORE, ByteBuffer.allocate(8 + path.length).putLong(step).put(path).array());
      Team.this.restore(own, folder, step);
    }

    @Override
    public void save(Path folder) {
      tell(Command.SAVE);
      Team.this.save();
      own.save(folder);
    }

    @Override
    public void close() {
      own.close();
    }
  }
}
