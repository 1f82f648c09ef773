// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.autograd.optim.StepOptions;
import io.sfumato.models.distributed.Collectives.Reduction;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Updates;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * An optimizer whose state is shared out among ranks, ZeRO stage 1 (Rajbhandari et al. 2020): each
 * rank keeps the state of, and updates, the parameters it owns, and gets the others' new values
 * from those who do. Works with every optimizer that treats parameters one by one.
 *
 * <p>{@link #state} is that of all ranks, and only rank 0 has it, after {@link #consolidate} on all
 * of them; {@link #load} takes such a state on every rank, from a run of any number of ranks.
 *
 * <p>A limit of the norm is applied as a factor that this class computes; averages move in a pass
 * of their own. Those of 16-bit parameters follow the parameters, not their f32 master weights,
 * which other ranks have.
 */
final class ShardedOptimizer implements Optimizer {
  private static final String STEP = "step";

  private final Collectives ranks;
  private final Shares shares;
  private final @Nullable Optimizer own; // null on a rank without parameters
  private final List<Bucket> buckets;
  private final Map<String, Parameter> gathered = new LinkedHashMap<>();
  private double rate;
  private long steps;
  private boolean consolidated;

  ShardedOptimizer(
      Collectives ranks,
      Shares shares,
      List<ParameterGroup> groups,
      Function<List<ParameterGroup>, Optimizer> maker,
      long bucketBytes) {
    this.ranks = ranks;
    this.shares = shares;
    List<ParameterGroup> mine = new ArrayList<>();
    List<Parameter> all = new ArrayList<>();
    for (ParameterGroup group : groups) {
      all.addAll(group.parameters());
      List<Parameter> some = group.parameters().stream().filter(this::isMine).toList();
      if (!some.isEmpty()) {
        mine.add(new ParameterGroup(some, group.learningRate(), group.weightDecay()));
      }
    }
    this.own = mine.isEmpty() ? null : maker.apply(mine);
    this.rate = own == null ? 0 : own.learningRate();
    this.buckets = DataParallel.fill(all, bucketBytes, ranks, shares, false);
  }

  private boolean isMine(Parameter p) {
    return shares.owner(p) == ranks.rank();
  }

  @Override
  public void step(Gradients gradients, StepOptions options) {
    Map<Parameter, Tensor> mine = new LinkedHashMap<>();
    gradients.asMap().forEach((p, g) -> put(mine, p, g));
    Gradients some = Gradients.of(mine);
    double scale = options.gradientScale();
    Double limit = options.maxNorm();
    if (limit != null) {
      double norm = Math.sqrt(sumOverRanks(square(some.norm()))) * Math.abs(scale);
      double factor = limit / (norm + 1e-6);
      scale *= Double.isFinite(norm) && factor < 1 ? factor : 1;
    }
    steps++;
    consolidated = false;
    if (own != null) {
      own.step(some, StepOptions.NONE.scale(scale));
    }
    try (Scope scope = Scope.open()) {
      gatherParameters();
    }
    if (options.ema() != null) {
      options.ema().update();
    }
  }

  private void put(Map<Parameter, Tensor> mine, Parameter p, Tensor g) {
    if (isMine(p)) {
      mine.put(p, g);
    }
  }

  private static double square(double x) {
    return x * x;
  }

  private double sumOverRanks(double value) {
    try (Scope scope = Scope.open()) {
      Tensor sum = Tensor.of(new double[] {value}, 1);
      ranks.allReduce(sum, Reduction.SUM).await();
      return sum.item();
    }
  }

  /** All buckets are on their way before the first is waited for. */
  private void gatherParameters() {
    List<Tensor> flat = new ArrayList<>();
    List<Pending> pending = new ArrayList<>();
    for (Bucket bucket : buckets) {
      Tensor data = bucket.allocate();
      for (Parameter p : bucket.parameters()) {
        if (isMine(p)) {
          bucket.put(data, p, p.value());
        }
      }
      flat.add(data);
      pending.add(ranks.allGather(data, bucket.counts()));
    }
    for (int b = 0; b < flat.size(); b++) {
      pending.get(b).await();
      for (Parameter p : buckets.get(b).parameters()) {
        if (!isMine(p)) {
          Updates.copy(p.value(), buckets.get(b).view(flat.get(b), p).to(p.value().device()));
        }
      }
    }
  }

  @Override
  public double learningRate() {
    return own == null ? rate : own.learningRate();
  }

  @Override
  public void setLearningRate(double value) {
    rate = value;
    if (own != null) {
      own.setLearningRate(value);
    }
  }

  @Override
  public void setLearningRateFactor(double factor) {
    if (own != null) {
      own.setLearningRateFactor(factor);
    }
  }

  @Override
  public long stepCount() {
    return steps;
  }

  // ---- state

  /** Brings the states of all ranks to rank 0; all ranks must call it. */
  void consolidate() {
    forget();
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> state = own == null ? Map.of() : own.state();
      byte[][] lists = ranks.exchange(list(state).getBytes(StandardCharsets.UTF_8));
      for (int r = 1; r < lists.length; r++) {
        for (String line : new String(lists[r], StandardCharsets.UTF_8).lines().toList()) {
          gather(r, line, state);
        }
      }
    }
    consolidated = true;
  }

  /** Names, types and shapes of tensors, one per line. */
  private static String list(Map<String, Tensor> state) {
    StringBuilder lines = new StringBuilder();
    state.forEach(
        (name, t) -> {
          if (!name.equals(STEP)) {
            lines.append(t.dtype().name());
            for (int d : t.shape().dims()) {
              lines.append(' ').append(d);
            }
            lines.append('\t').append(name).append('\n');
          }
        });
    return lines.toString();
  }

  /** One tensor from rank {@code from} to rank 0; the others hear it, too, and forget it. */
  private void gather(int from, String line, Map<String, Tensor> state) {
    String[] halves = line.split("\t", 2);
    String[] parts = halves[0].split(" ", -1);
    int[] shape = new int[parts.length - 1];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = Integer.parseInt(parts[i + 1]);
    }
    TensorSpec spec = new TensorSpec(Shape.of(shape), DType.valueOf(parts[0]), Device.CPU);
    try (Scope scope = Scope.open()) {
      Tensor data = Tensor.empty(spec);
      Tensor mine = state.get(halves[1]);
      if (ranks.rank() == from && mine != null) {
        Updates.copy(data, mine.to(Device.CPU));
      }
      ranks.broadcast(data, from).await();
      if (ranks.rank() == 0) {
        gathered.put(halves[1], new Parameter(halves[1], data));
      }
    }
  }

  /**
   * {@inheritDoc}
   *
   * @throws IllegalStateException on another rank than 0, and if {@link #consolidate} was not
   *     called since the last step
   */
  @Override
  public Map<String, Tensor> state() {
    if (ranks.rank() != 0 || !consolidated) {
      throw new IllegalStateException(
          "the state is spread over "
              + ranks.size()
              + " ranks; all of them must bring it together (consolidate) after the last step, and"
              + " then rank 0 has it");
    }
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put(STEP, Tensor.of(new double[] {steps}, DType.I64, Device.CPU));
    if (own != null) {
      own.state().forEach((name, t) -> state.putIfAbsent(name, t));
    }
    gathered.forEach((name, p) -> state.put(name, p.value()));
    return state;
  }

  @Override
  public void load(Map<String, Tensor> state) {
    Map<String, Integer> owners = new TreeMap<>();
    buckets.forEach(b -> b.parameters().forEach(p -> owners.put(p.name(), shares.owner(p))));
    Map<String, Tensor> mine = new LinkedHashMap<>();
    List<String> unknown = new ArrayList<>();
    state.forEach(
        (name, t) -> {
          Integer owner =
              name.equals(STEP)
                  ? Integer.valueOf(ranks.rank())
                  : owners.get(name.substring(0, Math.max(0, name.lastIndexOf('.'))));
          if (owner == null) {
            unknown.add(name);
          } else if (owner == ranks.rank()) {
            mine.put(name, t);
          }
        });
    Tensor total = state.get(STEP);
    if (total == null || !unknown.isEmpty()) {
      throw new IllegalArgumentException(
          "optimizer state does not fit: missing "
              + (total == null ? "[step]" : "[]")
              + ", unknown "
              + unknown);
    }
    if (own != null) {
      own.load(mine);
    }
    steps = (long) total.item();
    consolidated = false;
  }

  private void forget() {
    gathered.values().forEach(Parameter::close);
    gathered.clear();
    consolidated = false;
  }

  @Override
  public void close() {
    forget();
    if (own != null) {
      own.close();
    }
  }
}
