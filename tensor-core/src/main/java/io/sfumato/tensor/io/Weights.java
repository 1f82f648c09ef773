// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Where a model gets its parameters from while it is built: fresh random numbers, a checkpoint, or
 * nowhere (names and shapes only). Each layer sees its own path: {@code weights.at("conv1")}.
 *
 * {@snippet :
 * var unet = new UNet2D(Weights.init(Rng.seed(0)), config);
 * try (var weights = Weights.open(file).as(DType.F32)) {
 *   var same = new UNet2D(weights, config);
 *   weights.requireAllUsed();
 * }
 * }
 *
 * <p>Loading is strict: a missing or misshapen tensor is an error as soon as a layer asks for it,
 * and {@link #requireAllUsed} lists those no layer asked for. Stored tensors keep the type they
 * have in the file unless {@link #as} names another.
 */
public final class Weights implements AutoCloseable {
  private final WeightProvider provider;
  private final String path;
  private final Set<String> asked;
  private final List<Parameter> given;
  private final @Nullable DType dtype;
  private final @Nullable Device device;
  private final BiFunction<String, Init, Init> chooser;

  private Weights(
      WeightProvider provider,
      String path,
      Set<String> asked,
      List<Parameter> given,
      @Nullable DType dtype,
      @Nullable Device device,
      BiFunction<String, Init, Init> chooser) {
    this.provider = provider;
    this.path = path;
    this.asked = asked;
    this.given = given;
    this.dtype = dtype;
    this.device = device;
    this.chooser = chooser;
  }

  private static Weights root(
      WeightProvider provider, @Nullable DType dtype, @Nullable Device device) {
    return new Weights(
        provider,
        "",
        new LinkedHashSet<>(),
        new ArrayList<>(),
        dtype,
        device,
        (name, init) -> init);
  }

  /** Fresh F32 parameters on the CPU; each depends on {@code rng} and its own name only. */
  public static Weights init(Rng rng) {
    return init(rng, DType.F32, Device.CPU);
  }

  /** Fresh parameters of a type and device; each depends on {@code rng} and its own name only. */
  public static Weights init(Rng rng, DType dtype, Device device) {
    return root(new WeightProvider.Fresh(rng), dtype, device);
  }

  /**
   * The tensors of a safetensors file, a sharded checkpoint or a folder, as {@link
   * TensorSource#open} finds them.
   *
   * @throws TensorFileException if there is none, or it is corrupt
   */
  public static Weights open(Path path) {
    return from(TensorSource.open(path));
  }

  /** The tensors of a source, which is closed with this object. */
  public static Weights from(TensorSource source) {
    return root(new WeightProvider.Stored(source), null, null);
  }

  /** No memory at all: F32 tensors have names and shapes but no values. */
  public static Weights meta() {
    return root(new WeightProvider.Meta(), DType.F32, null);
  }

  /**
   * These weights in another floating type: fresh ones are drawn in it, stored ones are converted
   * while they are read. Stored integers and truth values stay what they are.
   *
   * @throws IllegalArgumentException if the type is not floating
   */
  public Weights as(DType type) {
    if (!type.isFloating()) {
      throw new IllegalArgumentException("weights must be floating; got " + type.label());
    }
    return new Weights(provider, path, asked, given, type, device, chooser);
  }

  /** These weights on a device. */
  public Weights on(Device target) {
    return new Weights(provider, path, asked, given, dtype, target, chooser);
  }

  /**
   * These weights with other first values: models whose paper prescribes them say so here, in one
   * place, instead of in each layer. Stored values are not affected.
   *
   * @param init gives the initialisation of a parameter for its full name and what its layer asks
   *     for
   */
  public Weights initialised(BiFunction<String, Init, Init> init) {
    return new Weights(provider, path, asked, given, dtype, device, init);
  }

  /**
   * These stored weights under other names, for checkpoints of other conventions.
   *
   * @param rule gives the name the model asks for, for the name in the file
   * @throws WeightsException if two tensors would have one name
   * @throws IllegalStateException if these weights are not stored ones, are a view made by {@link
   *     #at}, or were asked for some already
   */
  public Weights rename(UnaryOperator<String> rule) {
    if (!(provider instanceof WeightProvider.Stored stored)) {
      throw new IllegalStateException("only stored weights can be renamed: " + description());
    }
    if (!path.isEmpty() || !asked.isEmpty()) {
      throw new IllegalStateException("rename weights before anything else is done with them");
    }
    WeightProvider renamed = new WeightProvider.Stored(stored.source().rename(rule));
    return new Weights(renamed, "", asked, given, dtype, device, chooser);
  }

  /** The weights below a name: {@code at("conv1").get("weight", …)} is {@code conv1.weight}. */
  public Weights at(String name) {
    return new Weights(provider, full(name), asked, given, dtype, device, chooser);
  }

  /** The path of this view, empty at the root. */
  public String path() {
    return path;
  }

  /** Where the weights come from, for messages. */
  public String description() {
    return provider.description();
  }

  /** Whether a stored tensor of this name exists; always false for fresh weights. */
  public boolean has(String name) {
    return provider.names().contains(full(name));
  }

  /**
   * One parameter. If it cannot be had, the model being built is lost and nobody could close the
   * parameters it took before: they are closed here. Ask {@link #has} for what may be absent.
   *
   * @param name its last name, for example {@code weight}
   * @param shape the shape the layer needs
   * @param init how fresh values are drawn
   * @throws WeightsException if the source lacks it or has it in another shape, or it is asked for
   *     twice
   */
  public Parameter get(String name, Shape shape, Init init) {
    Scope scope = Scope.open();
    try {
      Parameter parameter = provide(full(name), shape, init);
      given.add(parameter);
      return parameter;
    } catch (RuntimeException | Error e) {
      given.forEach(Parameter::close);
      given.clear();
      throw e;
    } finally {
      scope.close();
    }
  }

  private Parameter provide(String name, Shape shape, Init init) {
    if (asked.contains(name)) {
      throw new WeightsException("parameter \"" + name + "\" is asked for twice");
    }
    String problem = provider.problem(name, shape);
    if (problem != null) {
      throw new WeightsException(description() + ": " + problem);
    }
    Tensor value = provider.provide(name, shape, chooser.apply(name, init), dtype, device);
    asked.add(name);
    return new Parameter(name, value);
  }

  /**
   * Overwrites parameters that exist already with the stored tensors of the same full names, in
   * place. All are checked before the first is changed.
   *
   * @throws WeightsException listing those that are missing or of another shape or type; then
   *     nothing was changed
   * @throws IllegalStateException if these weights are not stored ones
   */
  public void copyInto(Collection<Parameter> parameters) {
    if (!(provider instanceof WeightProvider.Stored stored)) {
      throw new IllegalStateException("only stored weights can be copied: " + description());
    }
    List<String> problems = new ArrayList<>();
    for (Parameter p : parameters) {
      String problem = provider.problem(p.name(), p.value().shape());
      if (problem == null) {
        problem = stored.typeProblem(p.name(), p.value().dtype(), dtype);
      }
      if (problem != null) {
        problems.add(problem);
      }
    }
    if (!problems.isEmpty()) {
      throw new WeightsException(description() + ": " + listed(problems, "; "));
    }
    for (Parameter p : parameters) {
      Scope.run(() -> copy(p.value(), stored.read(p.name(), dtype)));
      asked.add(p.name());
    }
  }

  private static void copy(Tensor target, Tensor value) {
    if (target.layout().isContiguous()) {
      long bytes = target.spec().bytes();
      Backends.of(target.device()).upload(value.contiguous().address(), target.address(), bytes);
      target.storage().changed();
    } else {
      Updates.copy(target, value.to(target.device()));
    }
  }

  /** Stored tensors that no layer has asked for. */
  public List<String> unused() {
    List<String> rest = new ArrayList<>(provider.names());
    rest.removeIf(asked::contains);
    return rest;
  }

  /**
   * Checks that every stored tensor was used.
   *
   * @throws WeightsException listing those that were not
   */
  public void requireAllUsed() {
    List<String> rest = unused();
    if (!rest.isEmpty()) {
      throw new WeightsException(
          description()
              + ": "
              + rest.size()
              + " tensors were not used by the model: "
              + listed(rest, ", "));
    }
  }

  private static String listed(List<String> all, String separator) {
    int shown = Math.min(20, all.size());
    return String.join(separator, all.subList(0, shown))
        + (all.size() > shown ? separator + "and " + (all.size() - shown) + " more" : "");
  }

  /** Closes the file behind these weights, if there is one. */
  @Override
  public void close() {
    provider.close();
  }

  private String full(String name) {
    return path.isEmpty() ? name : path + "." + name;
  }
}
