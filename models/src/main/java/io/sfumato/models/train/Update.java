// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.GradientAccumulator;
import io.sfumato.autograd.GradientListener;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.autograd.optim.LossScale;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.autograd.optim.StepOptions;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The step that all trainers share: mean gradient of some micro-batches, in 16 bits if wanted;
 * exchange with other processes; a limit of its norm; optimiser; averages of the parameters.
 *
 * {@snippet :
 * try (Update update = new Update(model, UpdateOptions.adamW().accumulate(4).clipNorm(1.0));
 *     Scope scope = Scope.open()) {
 *   update.step(1e-4, 4 * step, 4, number -> {
 *     Batches.Batch batch = batches.batch(number);
 *     return () -> new Tensor[] {loss(batch)};
 *   });
 * }
 * }
 *
 * <p>A step whose loss or gradients are not finite changes nothing. In F16 gradients that are not
 * finite are an overflow: the loss scale shrinks and the step is left out ({@link Done#skipped}).
 * Else the step is done again, every op looked at, and a {@link NonFiniteException} says where the
 * first such number came from.
 */
public final class Update implements AutoCloseable {
  private static final String AVERAGE = "ema.";
  private static final String SCALE = "loss_scale";
  private static final String GOOD_STEPS = "loss_scale.good_steps";

  /** Below this scale gradients are not finite for another reason than the scale. */
  private static final double LEAST_SCALE = 1e-4;

  /** Why losses in one part are refused where steps shall be recorded. */
  static final String NOT_RECORDABLE =
      "the steps of this model cannot be recorded: they need new numbers of the host each time";

  /** Gives the loss of batches by number. */
  @FunctionalInterface
  public interface BatchLoss {
    /**
     * Makes ready what the loss needs. Called again for the same batch it must do the same.
     *
     * @param number the number of the batch
     * @return computes the loss, followed by what else shall come out of the step
     */
    Supplier<Tensor[]> of(long number);
  }

  /** The loss of a batch in two parts, the second of which is the same work for each batch. */
  public interface RepeatedLoss {
    /**
     * What the second part needs of a batch: as many tensors, of the same shapes, for each. Called
     * again for the same batch it must give the same.
     *
     * @param number the number of the batch
     */
    List<Tensor> inputs(long number);

    /**
     * Computes the loss, and what else shall come out of the step. It can be recorded: numbers of
     * the host that differ from batch to batch are used in {@link io.sfumato.tensor.exec.Varying}
     * parts only.
     *
     * @param inputs what {@link #inputs} gave, or copies of it
     */
    Tensor[] of(List<Tensor> inputs);
  }

  /**
   * What a step did.
   *
   * @param loss the mean loss of its batches, before the step
   * @param gradientNorm the norm of the mean gradient, before it was limited
   * @param skipped whether gradients overflowed in F16, and the parameters stay as they were
   * @param extra what else came out, for each batch
   */
  public record Done(double loss, double gradientNorm, boolean skipped, List<List<Tensor>> extra) {
    /** One of the further results of all batches. */
    public List<Tensor> extra(int which) {
      return extra.stream().map(all -> all.get(which)).toList();
    }
  }

  private final List<Parameter> parameters;
  private final List<Parameter> buffers;
  private final UpdateOptions options;
  private final @Nullable Double baseRate;
  private final Optimizer optimizer;
  private final @Nullable Ema ema;
  private final @Nullable LossScale lossScale;
  private @Nullable BiConsumer<Parameter, double[]> watcher;
  private @Nullable GraphedGradients graph;

  /** Updates of a model's parameters. */
  public Update(Module model, UpdateOptions options) {
    this(
        options.groups().groups(model.parameters()),
        model.parameters(),
        model.buffers(),
        options,
        options.groups().baseRate());
  }

  /** Updates of some parameters. */
  public Update(Collection<Parameter> parameters, UpdateOptions options) {
    this(
        options.groups().groups(parameters),
        parameters,
        List.of(),
        options,
        options.groups().baseRate());
  }

  /**
   * Updates of groups with learning rates of their own.
   *
   * @param baseRate the rate for which those of the groups are meant; with another one in {@link
   *     #step} all change alike
   */
  public Update(List<ParameterGroup> groups, UpdateOptions options, double baseRate) {
    this(
        groups,
        groups.stream().flatMap(g -> g.parameters().stream()).toList(),
        List.of(),
        options,
        baseRate);
  }

  private Update(
      List<ParameterGroup> groups,
      Collection<Parameter> parameters,
      List<Parameter> buffers,
      UpdateOptions options,
      @Nullable Double baseRate) {
    this.parameters = List.copyOf(parameters);
    this.buffers = List.copyOf(buffers);
    this.options = options;
    this.baseRate = baseRate;
    this.optimizer = options.exchange().optimizer(groups, options);
    options.exchange().common(this.parameters, this.buffers);
    this.ema = options.ema() == null ? null : new Ema(this.parameters, options.ema());
    this.lossScale =
        options.precision() == Precision.F16 ? new LossScale(options.lossScale()) : null;
  }

  /** How steps are made. */
  public UpdateOptions options() {
    return options;
  }

  /** What is updated. */
  public List<Parameter> parameters() {
    return parameters;
  }

  /** The averages; null if there are none. */
  public @Nullable Ema ema() {
    return ema;
  }

  /** The optimiser. */
  public Optimizer optimizer() {
    return optimizer;
  }

  /** The factor on the loss in F16; null in other precisions. */
  public @Nullable LossScale lossScale() {
    return lossScale;
  }

  /**
   * Shows the gradients of the next step to somebody, before their norm is limited; once.
   *
   * @param next gets each parameter with its gradient, without the scale of F16
   */
  public void watch(BiConsumer<Parameter, double[]> next) {
    watcher = next;
  }

  private void show(Gradients gradients, double scale) {
    BiConsumer<Parameter, double[]> now = watcher;
    watcher = null;
    if (now != null) {
      gradients
          .asMap()
          .forEach(
              (parameter, gradient) -> {
                double[] values = gradient.toDoubleArray();
                for (int i = 0; i < values.length; i++) {
                  values[i] /= scale;
                }
                now.accept(parameter, values);
              });
    }
  }

  /**
   * One step. Results belong to the current scope.
   *
   * @param learningRate of this step
   * @param first the number of its first batch
   * @param count how many batches it has: first, first + 1, …
   * @param loss gives their losses
   * @throws NonFiniteException if loss or gradients are not finite; nothing was changed
   * @throws IllegalArgumentException if the options want a graph
   */
  public Done step(double learningRate, long first, int count, BatchLoss loss) {
    if (options.graph()) {
      throw new IllegalArgumentException(NOT_RECORDABLE);
    }
    return step(
        learningRate,
        first,
        count,
        loss,
        (losses, extra) ->
            count == 1
                ? one(first, loss, losses, extra, options.exchange().listener(parameters))
                : mean(first, count, loss, losses, extra));
  }

  /**
   * One step on one batch, whose forward and backward are recorded and replayed if the options want
   * a graph. Results belong to the current scope; of a graph, they are valid until the next step.
   *
   * @param learningRate of this step
   * @param number the number of its batch
   * @param loss gives its loss
   * @throws NonFiniteException if loss or gradients are not finite; nothing was changed
   * @throws IllegalArgumentException if a batch of a graph has other shapes than the first one
   */
  public Done step(double learningRate, long number, RepeatedLoss loss) {
    BatchLoss once =
        n -> {
          List<Tensor> inputs = loss.inputs(n);
          return () -> loss.of(inputs);
        };
    if (!options.graph()) {
      return step(learningRate, number, 1, once);
    }
    if (graph == null) {
      graph = new GraphedGradients(parameters, this::gradients);
    }
    GraphedGradients recorded = graph;
    return step(
        learningRate,
        number,
        1,
        once,
        (losses, extra) -> split(recorded.of(loss, number), losses, extra));
  }

  /** Computes the mean gradient of a step, and adds what else comes out of it to the lists. */
  @FunctionalInterface
  private interface Source {
    Gradients of(List<Tensor> losses, List<List<Tensor>> extra);
  }

  private Done step(double learningRate, long first, int count, BatchLoss loss, Source source) {
    try (BufferGuard guard = new BufferGuard(buffers)) {
      List<List<Tensor>> extra = new ArrayList<>();
      List<Tensor> losses = new ArrayList<>();
      Gradients own = source.of(losses, extra);
      Gradients gradients = options.exchange().average(parameters, own);
      double scale = lossScale == null ? 1 : lossScale.scale();
      double norm = options.exchange().norm(parameters, gradients) / scale;
      double value = 0;
      for (Tensor t : losses) {
        value += t.item() / count;
      }
      value = options.exchange().average(value);
      if (lossScale != null
          && Double.isFinite(value)
          && !Double.isFinite(norm)
          && scale >= LEAST_SCALE) {
        lossScale.update(true);
        return new Done(value, norm, true, extra);
      }
      if (!Double.isFinite(value) || !Double.isFinite(norm)) {
        throw FirstNonFinite.find(value, norm, parameters, first, count, n -> gradients(n, loss));
      }
      show(gradients, scale);
      Double limit = options.clipNorm();
      double clip = limit == null ? 1 : Math.min(1, limit / (norm + 1e-6));
      setRate(learningRate);
      StepOptions how = StepOptions.NONE.scale(clip / scale);
      optimizer.step(gradients, ema == null ? how : how.average(ema));
      if (lossScale != null) {
        lossScale.update(false);
      }
      guard.keepNew();
      return new Done(value, norm, false, extra);
    }
  }

  private void setRate(double learningRate) {
    if (baseRate == null) {
      optimizer.setLearningRate(learningRate);
    } else {
      optimizer.setLearningRateFactor(learningRate / baseRate);
    }
  }

  private Gradients one(
      long number,
      BatchLoss loss,
      List<Tensor> losses,
      List<List<Tensor>> extra,
      @Nullable GradientListener listener) {
    return split(gradients(number, loss, listener), losses, extra);
  }

  private static Gradients split(
      Autograd.Result result, List<Tensor> losses, List<List<Tensor>> extra) {
    losses.add(result.extra().getFirst());
    extra.add(result.extra().subList(1, result.extra().size()));
    return result.gradients();
  }

  private Gradients mean(
      long first, int count, BatchLoss loss, List<Tensor> losses, List<List<Tensor>> extra) {
    try (GradientAccumulator sum = new GradientAccumulator()) {
      for (int i = 0; i < count; i++) {
        Scope scope = Scope.open();
        try {
          sum.add(one(first + i, loss, losses, extra, null));
          scope.keep(losses.getLast());
          extra.getLast().forEach(scope::keep);
        } finally {
          scope.close();
        }
      }
      return sum.mean();
    }
  }

  /**
   * Loss and gradients of one batch, as a step computes them, and nothing more.
   *
   * @return the loss times the scale of F16, the gradients of that; of the further results the
   *     first is the loss as it is
   */
  public Autograd.Result gradients(long number, BatchLoss loss) {
    return gradients(number, loss, null);
  }

  private Autograd.Result gradients(
      long number, BatchLoss loss, @Nullable GradientListener listener) {
    return gradients(loss.of(number), listener);
  }

  private Autograd.Result gradients(Supplier<Tensor[]> body) {
    return gradients(body, null);
  }

  private Autograd.Result gradients(Supplier<Tensor[]> body, @Nullable GradientListener listener) {
    return options
        .precision()
        .run(() -> Autograd.valueAndGradWithExtra(parameters, () -> scaled(body.get()), listener));
  }

  private Tensor[] scaled(Tensor[] results) {
    Tensor[] all = new Tensor[results.length + 1];
    all[0] = lossScale == null ? results[0] : results[0].mul(lossScale.scale());
    System.arraycopy(results, 0, all, 1, results.length);
    return all;
  }

  /** Computes {@code body} with the averages, if there are any, in the place of the parameters. */
  public <T> T average(Supplier<T> body) {
    if (ema == null) {
      return body.get();
    }
    Ema.Swap averaged = ema.swap();
    try {
      return body.get();
    } finally {
      averaged.close();
    }
  }

  /** The averages by the names of the parameters, or the parameters: what others shall read. */
  public Map<String, Tensor> averages() {
    Map<String, Tensor> result = new LinkedHashMap<>();
    (ema == null ? parameters : ema.averages()).forEach(p -> result.put(p.name(), p.value()));
    return result;
  }

  /**
   * What is needed to go on, by name: the optimiser's state, averages under {@code ema.}, the loss
   * scale. Tensors in use, not copies, but numbers, which belong to the current scope.
   */
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>(optimizer.state());
    if (ema != null) {
      ema.state().forEach((name, tensor) -> state.put(AVERAGE + name, tensor));
    }
    if (lossScale != null) {
      state.put(SCALE, number(lossScale.scale(), DType.F64));
      state.put(GOOD_STEPS, number((double) lossScale.goodSteps(), DType.I64));
    }
    return state;
  }

  private static Tensor number(double value, DType type) {
    return Tensor.of(new double[] {value}, type, Device.CPU);
  }

  /**
   * Takes over values that {@link #state} gave.
   *
   * @throws IllegalArgumentException if the names differ
   */
  public void load(Map<String, Tensor> state) {
    Map<String, Tensor> rest = new LinkedHashMap<>();
    Map<String, Tensor> averages = new LinkedHashMap<>();
    state.forEach(
        (name, tensor) -> {
          if (name.startsWith(AVERAGE)) {
            averages.put(name.substring(AVERAGE.length()), tensor);
          } else {
            rest.put(name, tensor);
          }
        });
    if (lossScale != null) {
      Tensor scale = rest.remove(SCALE);
      Tensor good = rest.remove(GOOD_STEPS);
      if (scale == null || good == null) {
        throw new IllegalArgumentException("there is no loss scale in the saved state");
      }
      lossScale.restore(scale.item(), (long) good.item());
    }
    optimizer.load(rest);
    if (ema != null) {
      ema.load(averages);
    } else if (!averages.isEmpty()) {
      throw new IllegalArgumentException("the saved state has averages, and this run keeps none");
    }
  }

  /** Lets go of optimiser and averages; the parameters stay. */
  @Override
  public void close() {
    if (graph != null) {
      graph.close();
    }
    if (ema != null) {
      ema.close();
    }
    optimizer.close();
  }
}
