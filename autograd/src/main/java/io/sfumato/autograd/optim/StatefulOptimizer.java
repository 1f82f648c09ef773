// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Varying;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** What all optimizers share: groups, state by name, master weights, steps. */
abstract sealed class StatefulOptimizer implements Optimizer
    permits Adafactor, AdamFamily, Lion, Sgd {
  private static final String STEP = "step";
  private static final String MASTER = "master";

  /** What is kept for one parameter. */
  private static final class Slots {
    final Map<String, Parameter> tensors = new LinkedHashMap<>();
    long step;
  }

  /**
   * One parameter in one step.
   *
   * @param value what to update: the parameter, or its f32 master
   * @param grad its gradient
   * @param state its state by name
   * @param average its average, if the step moves it in the same pass
   */
  record Item(Tensor value, Tensor grad, Map<String, Parameter> state, @Nullable Tensor average) {
    Tensor state(String name) {
      Parameter p = state.get(name);
      if (p == null) {
        throw new IllegalStateException("no state " + name);
      }
      return p.value();
    }
  }

  /**
   * What all parameters of one step share.
   *
   * @param scale factor on the gradients
   * @param limit the limit of their norm, if the step applies it while it reads them
   * @param averageDecay decay of the averages of items that have one
   */
  record Pass(double scale, Updates.@Nullable Limit limit, double averageDecay) {}

  private final List<ParameterGroup> groups;
  private final double defaultDecay;
  private final Map<Parameter, Slots> slots = new LinkedHashMap<>();
  private final Map<String, Parameter> byName = new HashMap<>();
  private double rate;
  private double factor = 1;
  private long steps;

  StatefulOptimizer(List<ParameterGroup> groups, double learningRate, double weightDecay) {
    this.groups = List.copyOf(groups);
    this.rate = learningRate;
    this.defaultDecay = weightDecay;
    Set<Tensor> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    for (ParameterGroup group : groups) {
      for (Parameter p : group.parameters()) {
        if (byName.put(p.name(), p) != null) {
          throw new IllegalArgumentException("two parameters have the name " + p.name());
        }
        if (!seen.add(p.value())) {
          throw new IllegalArgumentException("the tensor of " + p.name() + " has two parameters");
        }
      }
    }
    if (seen.isEmpty()) {
      throw new IllegalArgumentException("an optimizer needs parameters; got none");
    }
  }

  /** The state of a parameter whose value has this specification; starts as zeros. */
  abstract Map<String, TensorSpec> stateOf(TensorSpec value);

  /** Updates parameters that are at the same step, 1 for the first. */
  abstract void update(
      List<Item> items, double learningRate, double weightDecay, long step, Pass pass);

  /** Whether {@link #update} heeds the limit and moves averages itself. */
  boolean takesOnePass() {
    return false;
  }

  @Override
  public final void step(Gradients gradients, StepOptions options) {
    Varying.run(
        gradients.asMap().values(),
        () -> {
          steps++;
          return Autograd.noGrad(
              () -> {
                Scope.run(() -> stepAll(gradients, options));
                return new Tensor[0];
              });
        });
  }

  private void stepAll(Gradients gradients, StepOptions options) {
    Ema ema = options.ema();
    double averageDecay = ema == null ? 0 : ema.begin();
    Pass pass = new Pass(options.gradientScale(), limit(gradients, options), averageDecay);
    Gradients used = gradients;
    if (pass.limit() != null && !takesOnePass()) {
      used = limited(gradients, pass.scale(), pass.limit());
      pass = new Pass(1, null, averageDecay);
    }
    Set<Parameter> averaged = Collections.newSetFromMap(new IdentityHashMap<>());
    for (ParameterGroup group : groups) {
      step(group, used, pass, takesOnePass() ? ema : null, averaged);
    }
    if (ema != null) {
      ema.update(
          averageDecay, ema.parameters().stream().filter(p -> !averaged.contains(p)).toList());
    }
  }

  private static Updates.@Nullable Limit limit(Gradients gradients, StepOptions options) {
    Double maxNorm = options.maxNorm();
    List<Tensor> all = List.copyOf(gradients.asMap().values());
    return maxNorm == null || all.isEmpty()
        ? null
        : new Updates.Limit(maxNorm, Updates.squaredNorm(all));
  }

  /** The gradients scaled and limited, in new tensors; the factor stays on the device. */
  private static Gradients limited(Gradients gradients, double scale, Updates.Limit limit) {
    Tensor norm = Num.sqrt(limit.squaredNorm()).mul(Math.abs(scale));
    Tensor fits = Num.reciprocal(norm.add(1e-6)).mul(limit.maxNorm());
    Tensor factor = Num.clamp(fits, 0, 1).mul(scale);
    Tensor safe = Num.where(Num.isFinite(norm), factor, Tensor.full(factor.spec(), scale));
    Map<Parameter, Tensor> scaled = new LinkedHashMap<>();
    gradients
        .asMap()
        .forEach(
            (p, g) -> {
              Tensor wide = g.dtype().isHalf() ? Num.cast(g, DType.F32) : g;
              scaled.put(p, wide.mul(Num.cast(safe, wide.dtype())));
            });
    return Gradients.of(scaled);
  }

  private void step(
      ParameterGroup group,
      Gradients gradients,
      Pass pass,
      @Nullable Ema ema,
      Set<Parameter> averaged) {
    Map<Long, List<Item>> bySteps = new TreeMap<>();
    List<Tensor> halves = new ArrayList<>();
    List<Tensor> masters = new ArrayList<>();
    for (Parameter p : group.parameters()) {
      Tensor grad = gradients.get(p);
      if (grad == null) {
        continue;
      }
      Slots s = slotsOf(p);
      s.step++;
      Parameter master = s.tensors.get(MASTER);
      Tensor value = master == null ? p.value() : master.value();
      Tensor average = ema == null ? null : ema.averageOf(p);
      if (average != null) {
        averaged.add(p);
      }
      bySteps
          .computeIfAbsent(s.step, k -> new ArrayList<>())
          .add(new Item(value, grad, s.tensors, average));
      if (master != null) {
        halves.add(p.value());
        masters.add(value);
      }
    }
    double own = group.learningRate() == null ? rate : group.learningRate();
    double decay = group.weightDecay() == null ? defaultDecay : group.weightDecay();
    bySteps.forEach((t, items) -> update(items, own * factor, decay, t, pass));
    Updates.copy(halves, masters);
  }

  private Slots slotsOf(Parameter p) {
    Slots known = slots.get(p);
    if (known != null) {
      return known;
    }
    Slots s = new Slots();
    try (Scope scope = Scope.open()) {
      TensorSpec spec = p.value().spec();
      TensorSpec wide = spec.dtype().isHalf() ? spec.with(DType.F32) : spec;
      if (spec.dtype().isHalf()) {
        Parameter master = new Parameter(p.name() + "." + MASTER, Tensor.zeros(wide));
        s.tensors.put(MASTER, master);
        Updates.copy(master.value(), p.value());
      }
      new TreeMap<>(stateOf(wide))
          .forEach(
              (name, state) ->
                  s.tensors.put(name, new Parameter(p.name() + "." + name, Tensor.zeros(state))));
    }
    slots.put(p, s);
    return s;
  }

  /** One tensor of each item. */
  static List<Tensor> all(List<Item> items, Function<Item, Tensor> which) {
    return items.stream().map(which).toList();
  }

  /** One state of each item. */
  static List<Tensor> all(List<Item> items, String state) {
    return all(items, i -> i.state(state));
  }

  @Override
  public final double learningRate() {
    return rate;
  }

  @Override
  public final void setLearningRate(double learningRate) {
    Checks.notNegative("learningRate", learningRate);
    rate = learningRate;
  }

  @Override
  public final void setLearningRateFactor(double value) {
    Checks.notNegative("learning rate factor", value);
    factor = value;
  }

  @Override
  public final long stepCount() {
    return steps;
  }

  @Override
  public final Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put(STEP, count(steps));
    slots.forEach(
        (p, s) -> {
          state.put(p.name() + "." + STEP, count(s.step));
          s.tensors.values().forEach(t -> state.put(t.name(), t.value()));
        });
    return state;
  }

  private static Tensor count(long steps) {
    return Tensor.of(new double[] {steps}, DType.I64, Device.CPU);
  }

  @Override
  public final void load(Map<String, Tensor> state) {
    Set<String> unknown = new TreeSet<>(state.keySet());
    Set<String> missing = new TreeSet<>();
    List<Parameter> fresh = new ArrayList<>();
    Map<Parameter, Long> counts = new LinkedHashMap<>();
    Map<Tensor, Tensor> copies = new LinkedHashMap<>();
    Tensor total = take(STEP, state, unknown, missing);
    byName.forEach(
        (name, p) -> {
          if (!state.containsKey(name + "." + STEP)) {
            fresh.add(p); // a parameter that never had a gradient
            return;
          }
          Tensor count = take(name + "." + STEP, state, unknown, missing);
          if (count != null) {
            counts.put(p, (long) count.item());
          }
          for (Parameter target : slotsOf(p).tensors.values()) {
            Tensor value = take(target.name(), state, unknown, missing);
            if (value != null) {
              copies.put(target.value(), value);
            }
          }
        });
    if (total == null || !unknown.isEmpty() || !missing.isEmpty()) {
      throw new IllegalArgumentException(
          "optimizer state does not fit: missing " + missing + ", unknown " + unknown);
    }
    steps = (long) total.item();
    fresh.forEach(this::forget);
    counts.forEach((p, n) -> slotsOf(p).step = n);
    copies.forEach((to, from) -> Updates.copy(to, from.to(to.device())));
  }

  private static @Nullable Tensor take(
      String name, Map<String, Tensor> state, Set<String> unknown, Set<String> missing) {
    Tensor t = state.get(name);
    if (t == null) {
      missing.add(name);
    }
    unknown.remove(name);
    return t;
  }

  private void forget(Parameter p) {
    Slots s = slots.remove(p);
    if (s != null) {
      s.tensors.values().forEach(Parameter::close);
    }
  }

  @Override
  public final void close() {
    List.copyOf(slots.keySet()).forEach(this::forget);
  }
}
