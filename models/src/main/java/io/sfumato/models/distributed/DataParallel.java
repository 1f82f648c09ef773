// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.autograd.GradientListener;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.models.distributed.Collectives.Reduction;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Updates;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Data-parallel training of some parameters: every rank computes the gradient of its share of the
 * batch, the mean of all is what every rank steps with, so parameters stay the same everywhere (Li
 * et al. 2020, "PyTorch Distributed"). Gradients travel in buckets, each as soon as backward has
 * filled it; buckets are in the reverse order of the parameters at first, then in the order in
 * which rank 0's gradients came in the first step.
 *
 * {@snippet :
 * try (Collectives ranks = Ranks.join()) {
 *   DataParallel parallel = new DataParallel(ranks, ParallelOptions.usual(), model.parameters());
 *   Optimizer optimizer = parallel.optimizer(groups, g -> new AdamW(g, AdamW.options()));
 *   parallel.begin();                              // rank 0's parameters for everybody
 *   for (...) {
 *     try (Scope step = Scope.open()) {
 *       GradientListener listener = parallel.listener();
 *       var result = Autograd.valueAndGradWithExtra(parameters, loss, listener);
 *       optimizer.step(parallel.average(result.gradients()));
 *     }
 *   }
 * }
 * }
 *
 * <p>The sum is taken in the order of the ranks, so the mean gradient of n ranks is to the bit what
 * one process gets that accumulates n micro-batches.
 */
public final class DataParallel {
  private final Collectives ranks;
  private final ParallelOptions options;
  private final List<Parameter> parameters;
  private final @Nullable Shares shares;
  private List<Parameter> common; // what is the same on all ranks
  private List<Bucket> buckets;
  private boolean ordered;
  private @Nullable Exchange current;

  /**
   * Training of some parameters, the same ones in the same order on every rank.
   *
   * @throws CollectiveException if another rank has others
   */
  public DataParallel(
      Collectives ranks, ParallelOptions options, Collection<Parameter> parameters) {
    this.ranks = ranks;
    this.options = options;
    this.parameters = List.copyOf(new LinkedHashSet<>(parameters));
    this.common = this.parameters;
    this.shares = options.zero() ? new Shares(this.parameters, ranks.size()) : null;
    Agreement.check(ranks, "the trained parameters", describe(this.parameters));
    this.buckets = fill(this.parameters.reversed());
  }

  private static Map<String, String> describe(List<Parameter> parameters) {
    Map<String, String> description = new LinkedHashMap<>();
    for (int i = 0; i < parameters.size(); i++) {
      Tensor value = parameters.get(i).value();
      description.put(parameters.get(i).name(), i + ": " + value.dtype() + " " + value.shape());
    }
    return description;
  }

  private List<Bucket> fill(List<Parameter> order) {
    return fill(order, options.bucketBytes(), ranks, shares, true);
  }

  /** Parameters in buckets of one type of at most so many bytes, or of one parameter. */
  static List<Bucket> fill(
      List<Parameter> order,
      long most,
      Collectives ranks,
      @Nullable Shares shares,
      boolean gradients) {
    Map<DType, List<Parameter>> open = new LinkedHashMap<>();
    Map<DType, Long> bytes = new LinkedHashMap<>();
    List<Bucket> result = new ArrayList<>();
    int segments = shares == null ? 1 : ranks.size();
    Device device = ranks.device();
    for (Parameter p : order) {
      DType own = p.value().dtype();
      DType type = gradients && own.isHalf() ? DType.F32 : own;
      List<Parameter> some = open.computeIfAbsent(type, t -> new ArrayList<>());
      long size = p.value().numel() * type.bytes();
      long before = bytes.getOrDefault(type, 0L);
      if (!some.isEmpty() && before + size > most) {
        result.add(new Bucket(some, type, device, segments, shares, gradients));
        some.clear();
        before = 0;
      }
      some.add(p);
      bytes.put(type, before + size);
    }
    open.forEach(
        (type, some) -> {
          if (!some.isEmpty()) {
            result.add(new Bucket(some, type, device, segments, shares, gradients));
          }
        });
    return List.copyOf(result);
  }

  /** The ranks. */
  public Collectives ranks() {
    return ranks;
  }

  /** How it works. */
  public ParallelOptions options() {
    return options;
  }

  /**
   * Gives everybody rank 0's values and checks that they came.
   *
   * @param further tensors beside the parameters that ranks have in common, such as buffers
   */
  public void begin(Collection<Parameter> further) {
    LinkedHashSet<Parameter> both = new LinkedHashSet<>(parameters);
    both.addAll(further);
    List<Parameter> all = List.copyOf(both);
    Agreement.check(ranks, "what they train and keep", describe(all));
    common = all;
    try (Scope scope = Scope.open()) {
      for (Bucket bucket : fill(all, options.bucketBytes(), ranks, null, false)) {
        Tensor flat = bucket.allocate();
        for (Parameter p : bucket.parameters()) {
          bucket.put(flat, p, p.value());
        }
        ranks.broadcast(flat, 0).await();
        if (ranks.rank() != 0) {
          for (Parameter p : bucket.parameters()) {
            Updates.copy(p.value(), bucket.view(flat, p).to(p.value().device()));
          }
        }
      }
    }
    checkSame();
  }

  /**
   * What to tell of the gradients while they are computed: begins an exchange, which {@link
   * #average} ends. What is sent belongs to the scope that is current here.
   */
  public GradientListener listener() {
    Exchange exchange = new Exchange(ranks, buckets, shares != null);
    current = exchange;
    return exchange;
  }

  /**
   * The mean of the gradients of all ranks, in the current scope. Gradients that {@link #listener}
   * heard of are under way already; without it they are sent now.
   *
   * @param own the gradients of this rank
   * @return the mean; with ZeRO that of this rank's share of the parameters only
   */
  public Gradients average(Gradients own) {
    Exchange exchange = current;
    current = null;
    if (exchange == null) {
      exchange = new Exchange(ranks, buckets, shares != null);
      for (Bucket bucket : buckets) {
        for (Parameter p : bucket.parameters()) {
          exchange.complete(p, own.get(p));
        }
      }
    } else if (!ordered) {
      Gradients result = exchange.finish();
      reorder(exchange.order());
      return result;
    }
    return exchange.finish();
  }

  /** Fills buckets in the order in which rank 0 got its gradients. */
  private void reorder(List<Parameter> came) {
    Map<Parameter, Integer> numbers = new LinkedHashMap<>();
    parameters.forEach(p -> numbers.put(p, numbers.size()));
    ByteBuffer message = ByteBuffer.allocate(4 * came.size());
    came.forEach(p -> message.putInt(numbers.getOrDefault(p, -1)));
    ByteBuffer first = ByteBuffer.wrap(ranks.exchange(message.array())[0]);
    List<Parameter> order = new ArrayList<>();
    while (first.hasRemaining()) {
      order.add(parameters.get(first.getInt()));
    }
    buckets = fill(order);
    ordered = true;
  }

  /** The mean of a number over all ranks, added in their order; NaN if one has NaN. */
  public double average(double own) {
    return sum(own) / ranks.size();
  }

  private double sum(double own) {
    try (Scope scope = Scope.open()) {
      Tensor value = Tensor.of(new double[] {own}, 1);
      ranks.allReduce(value, Reduction.SUM).await();
      return value.item();
    }
  }

  /** The Euclidean norm of what {@link #average(Gradients)} gave, of all parameters together. */
  public double norm(Gradients mean) {
    double own = mean.norm();
    return shares == null ? own : Math.sqrt(sum(own * own));
  }

  /**
   * An optimizer of the parameters: of all of them on each rank, or of this rank's share (ZeRO).
   *
   * @param groups all parameters
   * @param maker makes an optimizer of groups
   */
  public Optimizer optimizer(
      List<ParameterGroup> groups, Function<List<ParameterGroup>, Optimizer> maker) {
    return shares == null
        ? maker.apply(groups)
        : new ShardedOptimizer(ranks, shares, groups, maker, options.bucketBytes());
  }

  /**
   * Checks that all ranks have the same parameters, to the bit, and the same further tensors that
   * they {@link #begin began} with.
   *
   * @throws CollectiveException with the first parameter that differs, and the ranks that have
   *     another value than rank 0
   */
  public void checkSame() {
    List<Parameter> all = common;
    ByteBuffer own = ByteBuffer.allocate(8 * all.size());
    for (Parameter p : all) {
      own.putLong(Agreement.hash(p.value()));
    }
    byte[][] hashes = ranks.exchange(own.array());
    for (int i = 0; i < all.size(); i++) {
      List<Integer> others = new ArrayList<>();
      for (int r = 1; r < hashes.length; r++) {
        if (ByteBuffer.wrap(hashes[r]).getLong(8 * i)
            != ByteBuffer.wrap(hashes[0]).getLong(8 * i)) {
          others.add(r);
        }
      }
      if (!others.isEmpty()) {
        throw new CollectiveException(
            "the ranks have different parameters: "
                + all.get(i).name()
                + (others.size() == 1 ? " of rank " : " of ranks ")
                + String.join(", ", others.stream().map(String::valueOf).toList())
                + " is not that of rank 0; something that is not exchanged has changed it, or a"
                + " machine computes wrongly");
      }
    }
  }

  /** All parameters, in the order of {@link #average}. */
  public List<Parameter> parameters() {
    return Collections.unmodifiableList(parameters);
  }
}
