// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Varying;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * An exponential moving average of parameters, {@code a = a - (1 - decay) (a - p)}, with a decay
 * that grows at the start, as diffusers' {@code EMAModel}: at update n, with {@code s = n -
 * updateAfter - 1}, the decay is 0 for s ≤ 0, else {@code (1 + s) / (10 + s)}, or with warm-up
 * {@code 1 - (1 + s / inverseGamma)^-power}, but at least {@code minDecay} and at most {@code
 * decay}. Averages of 16-bit parameters are kept in f32.
 */
public final class Ema implements AutoCloseable {
  private final List<Parameter> parameters;
  private final List<Parameter> averages = new ArrayList<>();
  private final Map<Parameter, Parameter> byParameter = new IdentityHashMap<>();
  private final Options options;
  private long updates;

  /**
   * Options of {@link Ema}.
   *
   * @param decay the largest decay
   * @param minDecay the smallest decay
   * @param updateAfter the number of updates that only copy
   * @param warmup whether to use the power law
   * @param inverseGamma scale of the power law
   * @param power exponent of the power law
   */
  public record Options(
      double decay,
      double minDecay,
      long updateAfter,
      boolean warmup,
      double inverseGamma,
      double power) {
    /** Checks the numbers. */
    public Options {
      if (!(decay >= 0 && decay <= 1) || !(minDecay >= 0 && minDecay <= decay)) {
        throw new IllegalArgumentException(
            "decays must satisfy 0 <= minDecay <= decay <= 1; got " + minDecay + ", " + decay);
      }
      if (!(inverseGamma > 0)) {
        throw new IllegalArgumentException("inverseGamma must be positive; got " + inverseGamma);
      }
    }

    /** Another largest decay. */
    public Options decay(double value) {
      return new Options(value, minDecay, updateAfter, warmup, inverseGamma, power);
    }

    /** Another smallest decay. */
    public Options minDecay(double value) {
      return new Options(decay, value, updateAfter, warmup, inverseGamma, power);
    }

    /** Another number of updates that only copy. */
    public Options updateAfter(long value) {
      return new Options(decay, minDecay, value, warmup, inverseGamma, power);
    }

    /** The power law with this scale and exponent. */
    public Options warmup(double scale, double exponent) {
      return new Options(decay, minDecay, updateAfter, true, scale, exponent);
    }
  }

  /** Averages that start as copies of the parameters. */
  public Ema(Collection<Parameter> parameters, Options options) {
    this.parameters = List.copyOf(parameters);
    this.options = options;
    try (Scope scope = Scope.open()) {
      for (Parameter p : this.parameters) {
        Parameter average = copy(p.value(), p.name());
        averages.add(average);
        byParameter.put(p, average);
      }
    }
  }

  /** diffusers': decay 0.9999, from the first update, no power law. */
  public static Options options() {
    return new Options(0.9999, 0, 0, false, 1, 2.0 / 3);
  }

  /** The decay that update number {@code update} (1 for the first) uses. */
  public double decay(long update) {
    long s = Math.max(0, update - options.updateAfter() - 1);
    if (s == 0) {
      return 0;
    }
    double d =
        options.warmup()
            ? 1 - Math.pow(1 + s / options.inverseGamma(), -options.power())
            : (1.0 + s) / (10.0 + s);
    return Math.max(Math.min(d, options.decay()), options.minDecay());
  }

  /** Moves the averages towards the parameters; call it after each optimizer step. */
  public void update() {
    Varying.run(
        List.of(),
        () -> {
          update(begin(), parameters);
          return new Tensor[0];
        });
  }

  /** Counts an update and gives its decay; the caller moves all averages. */
  double begin() {
    updates++;
    return decay(updates);
  }

  /** Moves the averages of some of the parameters. */
  void update(double decay, List<Parameter> some) {
    List<Tensor> moved = some.stream().map(p -> average(p)).toList();
    Updates.ema(moved, values(some), decay);
  }

  /** All parameters with an average. */
  List<Parameter> parameters() {
    return parameters;
  }

  /** The average of a parameter; null if there is none. */
  @Nullable Tensor averageOf(Parameter p) {
    Parameter average = byParameter.get(p);
    return average == null ? null : average.value();
  }

  private Tensor average(Parameter p) {
    return Objects.requireNonNull(byParameter.get(p), p.name()).value();
  }

  /** The averages, with the names of the parameters. */
  public List<Parameter> averages() {
    return List.copyOf(averages);
  }

  /** Writes the averages into the parameters. */
  public void copyToParameters() {
    Updates.copy(values(parameters), values(averages));
  }

  /**
   * Puts the averages in the place of the parameters' values until the result is closed.
   *
   * {@snippet :
   * try (var averaged = ema.swap()) {
   *   sample(model);
   * }
   * }
   */
  public Swap swap() {
    return new Swap();
  }

  /** While open, the parameters have the averages' values. */
  public final class Swap implements AutoCloseable {
    private final List<Parameter> originals = new ArrayList<>();

    private Swap() {
      try (Scope scope = Scope.open()) {
        for (Parameter p : parameters) {
          Tensor t = Tensor.empty(p.value().spec());
          Updates.copy(t, p.value());
          originals.add(new Parameter(p.name(), t));
        }
      }
      copyToParameters();
    }

    /** Gives the parameters their own values back. Closing twice does nothing. */
    @Override
    public void close() {
      for (int i = 0; i < originals.size(); i++) {
        Updates.copy(parameters.get(i).value(), originals.get(i).value());
        originals.get(i).close();
      }
      originals.clear();
    }
  }

  /**
   * The averages by parameter name and {@code ema.updates}, which belongs to the current scope. The
   * averages are those in use, not copies.
   */
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("ema.updates", Tensor.of(new double[] {updates}, DType.I64, Device.CPU));
    averages.forEach(a -> state.put(a.name(), a.value()));
    return state;
  }

  /**
   * Takes over values that {@link #state} gave. Strict.
   *
   * @throws IllegalArgumentException if the names differ
   */
  public void load(Map<String, Tensor> state) {
    TreeSet<String> names = new TreeSet<>();
    names.add("ema.updates");
    averages.forEach(a -> names.add(a.name()));
    if (!names.equals(new TreeSet<>(state.keySet()))) {
      throw new IllegalArgumentException(
          "averages need exactly the names " + names + "; got " + state.keySet());
    }
    state.forEach(
        (name, value) -> {
          if (name.equals("ema.updates")) {
            updates = (long) value.item();
          }
        });
    for (Parameter a : averages) {
      Tensor value = state.get(a.name());
      if (value != null) {
        Updates.copy(a.value(), value.to(a.value().device()));
      }
    }
  }

  private static Parameter copy(Tensor x, String name) {
    TensorSpec spec = x.dtype().isHalf() ? x.spec().with(DType.F32) : x.spec();
    Tensor t = Tensor.empty(spec);
    Updates.copy(t, x);
    return new Parameter(name, t);
  }

  private static List<Tensor> values(List<Parameter> list) {
    return list.stream().map(Parameter::value).toList();
  }

  /** Lets go of the averages. */
  @Override
  public void close() {
    averages.forEach(Parameter::close);
    averages.clear();
    byParameter.clear();
  }
}
