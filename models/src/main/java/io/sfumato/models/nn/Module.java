// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * A part of a model: parameters and children under the names they have in checkpoints. Names are
 * string literals at construction, so {@code child("conv1", …)} inside {@code child("resnets.0",
 * …)} gives {@code resnets.0.conv1.weight}, whatever the Java fields are called.
 *
 * <p>Subclasses wrap their forward in {@link #call(Supplier)}: temporaries are freed when it
 * returns, and errors name the module's path.
 */
public abstract class Module implements AutoCloseable {
  private static final ScopedValue<Boolean> TRAINING = ScopedValue.newInstance();

  private final Weights weights;
  private final Map<String, Module> children = new LinkedHashMap<>();
  private final Map<String, Parameter> own = new LinkedHashMap<>();
  private final Map<String, Parameter> ownBuffers = new LinkedHashMap<>();

  /**
   * A module whose parameters come from {@code weights}.
   *
   * @param weights the source, already at this module's path
   */
  protected Module(Weights weights) {
    this.weights = weights;
  }

  /**
   * Runs a training forward. Training is a property of a region of code, not of the model: inside,
   * {@link BatchNorm2d} uses its batch's statistics and {@link SpectralNorm} moves its vectors;
   * elsewhere both take what they have. ({@link Dropout#active} is the same for dropout, which
   * needs a source of randomness.)
   */
  public static <R> R training(Supplier<R> body) {
    return ScopedValue.where(TRAINING, true).call(body::get);
  }

  /** Whether this runs inside {@link #training}. */
  protected static boolean isTraining() {
    return TRAINING.isBound();
  }

  /** The path of this module in the model, empty for the model itself. */
  public final String path() {
    return weights.path();
  }

  /**
   * Declares a parameter of this module.
   *
   * @param name its last name, for example {@code weight}
   */
  protected final Parameter parameter(String name, Shape shape, Init init) {
    Parameter p = weights.get(name, shape, init);
    own.put(name, p);
    return p;
  }

  /**
   * Declares a buffer of this module: saved with the parameters, but not trained, for example
   * running statistics.
   *
   * @param name its last name, for example {@code running_mean}
   */
  protected final Parameter buffer(String name, Shape shape, Init init) {
    Parameter p = weights.get(name, shape, init);
    ownBuffers.put(name, p);
    return p;
  }

  /**
   * Takes a parameter out of this module and lets go of it.
   *
   * @param name its last name
   */
  final void retire(String name) {
    Parameter p = own.remove(name);
    if (p == null) {
      throw new IllegalStateException("there is no parameter " + name + " in " + path());
    }
    p.close();
  }

  /** Adds a parameter that comes before the others. */
  final void reinstate(String name, Parameter p) {
    Map<String, Parameter> others = new LinkedHashMap<>(own);
    own.clear();
    own.put(name, p);
    own.putAll(others);
  }

  /** Adds buffers that somebody else made, by last name; they are closed with this module. */
  final void adopt(Map<String, Parameter> buffers) {
    ownBuffers.putAll(buffers);
  }

  /** Takes buffers out of this module without closing them. */
  final void release(Map<String, Parameter> buffers) {
    ownBuffers.keySet().removeAll(buffers.keySet());
  }

  /**
   * Builds a child.
   *
   * @param name its name below this module; dots are allowed ({@code resnets.0})
   * @param build constructs it from the weights at its path
   */
  protected final <M extends Module> M child(String name, Function<Weights, M> build) {
    M module = build.apply(weights.at(name));
    if (children.putIfAbsent(name, module) != null) {
      throw new IllegalStateException("child " + name + " exists already in " + path());
    }
    return module;
  }

  /** Builds children {@code name.0} to {@code name.(count - 1)}. */
  protected final <M extends Module> List<M> children(
      String name, int count, IndexedBuilder<M> build) {
    List<M> list = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      int index = i;
      list.add(child(name + "." + i, w -> build.build(w, index)));
    }
    return Collections.unmodifiableList(list);
  }

  /**
   * Constructs one of several children.
   *
   * @param <M> its type
   */
  @FunctionalInterface
  protected interface IndexedBuilder<M extends Module> {
    /** Builds child {@code index} from the weights at its path. */
    M build(Weights weights, int index);
  }

  /** The direct children by name, in the order of construction. */
  public final Map<String, Module> children() {
    return Collections.unmodifiableMap(children);
  }

  /** The parameters of this module and all below it, in the order of construction. */
  public final List<Parameter> parameters() {
    List<Parameter> all = new ArrayList<>();
    collect(all);
    return all;
  }

  private void collect(List<Parameter> all) {
    all.addAll(own.values());
    children.values().forEach(c -> c.collect(all));
  }

  /** The buffers of this module and all below it, in the order of construction. */
  public final List<Parameter> buffers() {
    List<Parameter> all = new ArrayList<>();
    modules().values().forEach(m -> all.addAll(m.ownBuffers.values()));
    return all;
  }

  /** All parameters, and then all buffers, by checkpoint name: what is saved. */
  public final Map<String, Tensor> stateDict() {
    Map<String, Tensor> dict = new LinkedHashMap<>();
    for (Parameter p : parameters()) {
      dict.put(p.name(), p.value());
    }
    for (Parameter p : buffers()) {
      dict.put(p.name(), p.value());
    }
    return dict;
  }

  /** This module and all below it, by path, parents first. */
  public final Map<String, Module> modules() {
    Map<String, Module> all = new LinkedHashMap<>();
    all.put(path(), this);
    children.values().forEach(c -> all.putAll(c.modules()));
    return all;
  }

  /** The number of trainable values. */
  public final long parameterCount() {
    return parameters().stream().mapToLong(p -> p.value().numel()).sum();
  }

  /**
   * Runs a forward in a scope of its own, under this module's path; the result moves to the
   * caller's scope.
   */
  protected final Tensor call(Supplier<Tensor> forward) {
    ModulePath.push(path());
    try {
      return Scope.run(forward);
    } finally {
      ModulePath.pop();
    }
  }

  /** As {@link #call(Supplier)}, for a forward with several results. */
  protected final Tensor[] callAll(Supplier<Tensor[]> forward) {
    ModulePath.push(path());
    try {
      return Scope.runAll(forward);
    } finally {
      ModulePath.pop();
    }
  }

  /**
   * Runs a forward that leaves more than its result in the caller's scope: under this module's
   * path, without a scope of its own.
   */
  protected final Tensor callInScope(Supplier<Tensor> forward) {
    ModulePath.push(path());
    try {
      return forward.get();
    } finally {
      ModulePath.pop();
    }
  }

  /** Lets go of all parameters and buffers. */
  @Override
  public void close() {
    own.values().forEach(Parameter::close);
    ownBuffers.values().forEach(Parameter::close);
    children.values().forEach(Module::close);
  }
}
