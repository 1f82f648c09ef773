// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Adapter;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.QuantizedWeight;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.WeakHashMap;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * One adapter of a model: its parts in the slots of several layers, with parameters, strength and
 * an on/off switch of their own. The model's code, names and weights stay as they are; training
 * {@link #parameters} alone trains the adapter.
 *
 * {@snippet :
 * var lora = AdapterSet.attach(unet, Targets.glob("**.to_q", "**.to_v"), Lora.rank(8), Rng.seed(0));
 * var result = Autograd.valueAndGrad(lora.parameters(), () -> denoiser.loss(images, labels, draw));
 * }
 *
 * <p>Several sets may be attached to one model; they act in the order of attachment. While a set is
 * off, or its strength in a layer is 0, the layer computes what it would without it, bit for bit.
 */
public final class AdapterSet implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  private final Map<String, LayerAdapter> parts = new LinkedHashMap<>();
  private final Map<String, AdapterKind> kinds = new LinkedHashMap<>();
  private final Map<String, Adapter> slots = new LinkedHashMap<>();
  private final Map<String, Saved> pristine = new LinkedHashMap<>();
  private final Map<String, QuantizedWeight> decoded = new LinkedHashMap<>();
  private @Nullable Module shared;
  private volatile double strength = 1;
  private volatile Map<String, Double> factors = Map.of();
  private volatile boolean on = true;
  private boolean closed;

  /** What a layer was before merging; no weight if its codes are kept instead. */
  private record Saved(@Nullable Parameter weight, @Nullable Parameter bias) {}

  /** Who is merged into a layer, the last one first. */
  private static final Map<WeightLayer, Deque<Object>> MERGED = new WeakHashMap<>();

  private final Object token = new Object();

  private AdapterSet() {}

  /**
   * Attaches fresh adapters of one kind.
   *
   * @param model the model
   * @param targets which layers, by path: see {@link Targets}
   * @param kind what is attached
   * @param rng the source of first values; each depends on its own name only
   * @throws IllegalArgumentException if no layer is meant, or listing those that the kind refuses
   */
  public static AdapterSet attach(
      Module model, Predicate<String> targets, AdapterKind kind, Rng rng) {
    return attach(model, targets, layer -> kind, rng);
  }

  /**
   * Attaches fresh adapters whose settings depend on the layer: other ranks here and there, say.
   *
   * @param kinds gives the kind for a layer
   */
  public static AdapterSet attach(
      Module model, Predicate<String> targets, Function<WeightLayer, AdapterKind> kinds, Rng rng) {
    return attach(
        model,
        targets,
        kinds,
        layer ->
            Weights.init(rng, layer.weight().value().dtype(), layer.weight().value().device()));
  }

  /**
   * Attaches adapters with stored parameters, under the names that {@link #stateDict} gives.
   *
   * @param weights the parameters
   * @throws io.sfumato.tensor.io.WeightsException if one is missing or of another shape; the model
   *     stays as it was
   */
  public static AdapterSet attach(
      Module model,
      Predicate<String> targets,
      Function<WeightLayer, AdapterKind> kinds,
      Weights weights) {
    return attach(model, targets, kinds, layer -> weights.on(layer.weight().value().device()));
  }

  private static AdapterSet attach(
      Module model,
      Predicate<String> targets,
      Function<WeightLayer, AdapterKind> kinds,
      Function<WeightLayer, Weights> weights) {
    Map<WeightLayer, AdapterKind> chosen = Targets.choose(model, targets, kinds);
    AdapterSet set = new AdapterSet();
    try (Scope scope = Scope.open()) { // of weights that are decoded
      List<WeightLayer> layers = List.copyOf(chosen.keySet());
      Module shared = shared(chosen, layers, weights);
      set.shared = shared;
      chosen.forEach(
          (layer, kind) -> {
            Weights source = weights.apply(layer).at(layer.path());
            set.parts.put(layer.path(), kind.build(layer, source, shared));
            set.kinds.put(layer.path(), kind);
          });
    } catch (RuntimeException | Error e) {
      set.close();
      throw e;
    }
    set.parts.forEach(
        (path, part) -> {
          Adapter adapter = (layer, x, base) -> set.apply(part, x, base);
          part.layer().attach(adapter);
          set.slots.put(path, adapter);
        });
    return set;
  }

  /** What the first kind that shares something builds for the layers of its kind. */
  private static @Nullable Module shared(
      Map<WeightLayer, AdapterKind> chosen,
      List<WeightLayer> layers,
      Function<WeightLayer, Weights> weights) {
    for (WeightLayer layer : layers) {
      AdapterKind kind = kindOf(chosen, layer);
      List<WeightLayer> same =
          layers.stream().filter(l -> kindOf(chosen, l).getClass() == kind.getClass()).toList();
      Module shared = kind.shared(same, weights.apply(layer));
      if (shared != null) {
        return shared;
      }
    }
    return null;
  }

  private static AdapterKind kindOf(Map<WeightLayer, AdapterKind> chosen, WeightLayer layer) {
    return Objects.requireNonNull(chosen.get(layer));
  }

  private Tensor apply(LayerAdapter part, Tensor x, UnaryOperator<Tensor> base) {
    double now = strengthIn(part.path());
    return now == 0 ? base.apply(x) : part.apply(x, base, now);
  }

  private double strengthIn(String path) {
    return on && pristine.isEmpty() ? strength * factors.getOrDefault(path, 1.0) : 0;
  }

  // ---- what it holds

  /** The parts by the path of their layer. */
  public Map<String, LayerAdapter> parts() {
    return Collections.unmodifiableMap(parts);
  }

  /** The kind of each part, by the path of its layer. */
  public Map<String, AdapterKind> kinds() {
    return Collections.unmodifiableMap(kinds);
  }

  /** What trains. */
  public List<Parameter> parameters() {
    List<Parameter> all = new ArrayList<>();
    parts.values().forEach(part -> all.addAll(part.parameters()));
    return all;
  }

  /** The number of values that train. */
  public long parameterCount() {
    return parameters().stream().mapToLong(p -> p.value().numel()).sum();
  }

  /** All parameters by name: the layer's path and PEFT's name of the factor. */
  public Map<String, Tensor> stateDict() {
    Map<String, Tensor> dict = new LinkedHashMap<>();
    if (shared != null) {
      dict.putAll(shared.stateDict());
    }
    parts.values().forEach(part -> dict.putAll(part.stateDict()));
    return dict;
  }

  /** What does not train but belongs to a saved state of training. */
  public List<Parameter> buffers() {
    List<Parameter> all = new ArrayList<>();
    parts.values().forEach(part -> all.addAll(part.buffers()));
    return all;
  }

  /** The kinds as files hold them, by path; see {@link AdapterKind#stored}. */
  public Map<String, AdapterKind> storedKinds() {
    Map<String, AdapterKind> stored = new LinkedHashMap<>();
    kinds.forEach((path, kind) -> stored.put(path, kind.stored()));
    return stored;
  }

  /** The tensors that go with {@link #storedKinds}; what is made for it is of the current scope. */
  public Map<String, Tensor> storedDict() {
    Map<String, Tensor> dict = new LinkedHashMap<>();
    if (shared != null) {
      dict.putAll(shared.stateDict());
    }
    parts.values().forEach(part -> dict.putAll(part.storedDict()));
    return dict;
  }

  /**
   * Tells the adapter that its optimiser has done {@code steps} steps in all. Kinds that change
   * while they train ask for it; for others it does nothing.
   */
  public void stepped(long steps) {
    Scope.runAll(
        () -> {
          parts.values().forEach(part -> part.stepped(steps));
          return new Tensor[0];
        });
  }

  // ---- strength

  /** Sets the factor of the change in all layers: 1 as trained, 0 none. */
  public void setStrength(double value) {
    requireNotMerged("the strength");
    strength = finite(value);
  }

  /**
   * Sets further factors, layer by layer; block weights are {@code path ->
   * path.startsWith("down_blocks.0.") ? 0.5 : 1}.
   */
  public void setStrengths(ToDoubleFunction<String> factorOf) {
    requireNotMerged("the strength");
    Map<String, Double> fresh = new LinkedHashMap<>();
    parts.keySet().forEach(path -> fresh.put(path, finite(factorOf.applyAsDouble(path))));
    factors = fresh;
  }

  /** Switches the adapter on or off. */
  public void setOn(boolean value) {
    requireNotMerged("the switch");
    on = value;
  }

  /** Whether it is on. */
  public boolean isOn() {
    return on;
  }

  /** Computes {@code body} without this adapter. */
  public <T> T without(Supplier<T> body) {
    boolean before = on;
    setOn(false);
    try {
      return body.get();
    } finally {
      on = before;
    }
  }

  private static double finite(double value) {
    if (!Double.isFinite(value)) {
      throw new IllegalArgumentException("the strength must be finite; got " + value);
    }
    return value;
  }

  private void requireNotMerged(String what) {
    if (!pristine.isEmpty()) {
      throw new IllegalStateException("the adapter is merged: unmerge it before changing " + what);
    }
  }

  // ---- merging

  /**
   * Writes the adapter into the layers' weights, computed in f32 and rounded once. The weights as
   * they were are kept, so {@link #unmerge} gives them back bit for bit; until then they take
   * memory twice.
   *
   * @throws IllegalStateException if it is merged already, a weight is quantised, or a result is
   *     not finite; then nothing was changed
   */
  public void merge() {
    requireNotMerged("it again");
    for (LayerAdapter part : parts.values()) {
      part.layer()
          .quantized()
          .ifPresent(
              codes -> {
                throw new IllegalStateException(
                    part.path()
                        + ": its weight is quantized ("
                        + codes.label()
                        + "), and coding a merged weight again would lose part of the change;"
                        + " mergeDequantized() merges into decoded values");
              });
    }
    Map<String, Saved> saved = new LinkedHashMap<>();
    try (Scope scope = Scope.open()) {
      Map<Tensor, Tensor> changes = new LinkedHashMap<>();
      for (LayerAdapter part : parts.values()) {
        double now = strengthIn(part.path());
        WeightLayer layer = part.layer();
        Tensor weight = layer.weight().value();
        Tensor bias = layer.bias().map(Parameter::value).orElse(null);
        saved.put(
            part.path(),
            new Saved(
                decoded.containsKey(part.path()) ? null : copy(weight),
                bias == null ? null : copy(bias)));
        if (now != 0) {
          changes.put(weight, checked(part, part.merged(wide(weight), now), weight));
          if (bias != null) {
            changes.put(bias, checked(part, part.mergedBias(wide(bias), now), bias));
          }
        }
      }
      changes.forEach(Updates::copy);
      pristine.putAll(saved);
      synchronized (MERGED) {
        parts
            .values()
            .forEach(
                part -> MERGED.computeIfAbsent(part.layer(), l -> new ArrayDeque<>()).push(token));
      }
    } catch (RuntimeException | Error e) {
      saved.values().forEach(AdapterSet::close);
      throw e;
    }
  }

  /**
   * As {@link #merge}, for layers of which some are quantised: their weights are decoded before,
   * and stay decoded. The log says how much memory that takes. {@link #unmerge} gives back the
   * codes, bit for bit.
   *
   * @throws IllegalStateException if it is merged already, or a result is not finite; then nothing
   *     was changed
   */
  public void mergeDequantized() {
    requireNotMerged("it again");
    long bytes = 0;
    for (LayerAdapter part : parts.values()) {
      WeightLayer layer = part.layer();
      if (layer.quantized().isPresent()) {
        decoded.put(part.path(), layer.dequantize());
        bytes += layer.weight().value().spec().bytes();
      }
    }
    try {
      merge();
    } catch (RuntimeException | Error e) {
      codeAgain();
      throw e;
    }
    if (!decoded.isEmpty()) {
      LOG.log(
          System.Logger.Level.INFO,
          "merging decoded the weights of {0} quantized layers, which take {1} MB until they are"
              + " coded again; the adapter was trained on these values",
          decoded.size(),
          Math.ceilDiv(bytes, 1L << 20));
    }
  }

  private void codeAgain() {
    decoded.forEach((path, codes) -> part(path).layer().quantize(codes));
    decoded.clear();
  }

  /** Whether {@link #merge} is in effect. */
  public boolean isMerged() {
    return !pristine.isEmpty();
  }

  /**
   * Gives the layers the weights they had before {@link #merge}.
   *
   * @throws IllegalStateException if it is not merged, or another adapter was merged into one of
   *     its layers since, which must be unmerged first
   */
  public void unmerge() {
    if (pristine.isEmpty()) {
      throw new IllegalStateException("the adapter is not merged");
    }
    synchronized (MERGED) {
      for (LayerAdapter part : parts.values()) {
        Deque<Object> merged = MERGED.get(part.layer());
        if (merged == null || merged.peek() != token) {
          throw new IllegalStateException(
              part.path() + ": another adapter was merged after this one; unmerge that first");
        }
      }
      parts.values().forEach(part -> Objects.requireNonNull(MERGED.get(part.layer())).pop());
    }
    pristine.forEach(
        (path, saved) -> {
          WeightLayer layer = part(path).layer();
          if (saved.weight != null) {
            Updates.copy(layer.weight().value(), saved.weight.value());
          }
          if (saved.bias != null) {
            Updates.copy(layer.bias().orElseThrow().value(), saved.bias.value());
          }
        });
    dropPristine();
    codeAgain();
  }

  private LayerAdapter part(String path) {
    LayerAdapter part = parts.get(path);
    if (part == null) {
      throw new IllegalArgumentException("there is no adapter at " + path);
    }
    return part;
  }

  private static Tensor wide(Tensor x) {
    return x.dtype() == DType.F64 ? x : x.to(DType.F32);
  }

  private static Parameter copy(Tensor x) {
    Tensor copy = Tensor.zeros(x.spec());
    Updates.copy(copy, x);
    return new Parameter("", copy);
  }

  private static Tensor checked(LayerAdapter part, Tensor merged, Tensor like) {
    Tensor rounded = merged.to(like.dtype());
    if (!Double.isFinite(Updates.squaredNorm(List.of(rounded)).item())) {
      throw new IllegalStateException(
          part.path() + ": the merged weight is not finite; nothing was merged");
    }
    return rounded;
  }

  private static void close(Saved saved) {
    if (saved.weight != null) {
      saved.weight.close();
    }
    if (saved.bias != null) {
      saved.bias.close();
    }
  }

  private void dropPristine() {
    pristine.values().forEach(AdapterSet::close);
    pristine.clear();
  }

  /**
   * Takes the adapter out of its slots and lets go of its parameters. What was merged stays merged.
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    dropPristine();
    decoded.values().forEach(QuantizedWeight::close);
    decoded.clear();
    slots.forEach((path, adapter) -> part(path).layer().detach(adapter));
    parts.values().forEach(Module::close);
    if (shared != null) {
      shared.close();
    }
  }
}
