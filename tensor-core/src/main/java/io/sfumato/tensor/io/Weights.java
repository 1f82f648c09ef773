// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backends;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Where a model gets its parameters from while it is built: fresh random numbers, a checkpoint, or
 * nowhere (names and shapes only). Each layer sees its own path: {@code weights.at("conv1")}.
 *
 * {@snippet :
 * var unet = new UNet2D(Weights.init(Rng.seed(0)), config);
 * try (var weights = Weights.open(file)) {
 *   var same = new UNet2D(weights, config);
 *   weights.requireAllUsed();
 * }
 * }
 *
 * <p>Loading is strict: a missing or misshapen tensor is an error as soon as a layer asks for it,
 * and {@link #requireAllUsed} lists those no layer asked for.
 */
public final class Weights implements AutoCloseable {
  private final Provider provider;
  private final String path;
  private final Set<String> asked;

  /** Makes one parameter. */
  private interface Provider extends AutoCloseable {
    Tensor provide(String name, Shape shape, Init init);

    Set<String> names();

    String description();

    @Override
    default void close() {}
  }

  private Weights(Provider provider, String path, Set<String> asked) {
    this.provider = provider;
    this.path = path;
    this.asked = asked;
  }

  /** Fresh F32 parameters on the CPU; each depends on {@code rng} and its own name only. */
  public static Weights init(Rng rng) {
    return init(rng, DType.F32, Device.CPU);
  }

  /** Fresh parameters of a type and device; each depends on {@code rng} and its own name only. */
  public static Weights init(Rng rng, DType dtype, Device device) {
    return new Weights(
        new Provider() {
          @Override
          public Tensor provide(String name, Shape shape, Init init) {
            return init.create(new TensorSpec(shape, dtype, device), rng.fork(name));
          }

          @Override
          public Set<String> names() {
            return Set.of();
          }

          @Override
          public String description() {
            return "initial weights";
          }
        },
        "",
        new LinkedHashSet<>());
  }

  /**
   * The tensors of a safetensors file, of a sharded checkpoint ({@code *.index.json}), or of a
   * folder that holds one of them under a name that diffusers uses.
   *
   * @throws TensorFileException if there is none, or it is corrupt
   */
  public static Weights open(Path path) {
    Path file = Files.isDirectory(path) ? find(path) : path;
    return from(
        file.toString().endsWith(".json") ? ShardedTensors.open(file) : SafeTensors.open(file));
  }

  private static Path find(Path folder) {
    for (String base : List.of("diffusion_pytorch_model", "model")) {
      for (String name : List.of(base + ".safetensors", base + ".safetensors.index.json")) {
        if (Files.exists(folder.resolve(name))) {
          return folder.resolve(name);
        }
      }
    }
    throw new TensorFileException(
        folder,
        "holds neither diffusion_pytorch_model.safetensors nor model.safetensors, nor an index of"
            + " their shards");
  }

  /** The tensors of a source, which is closed with this object. */
  public static Weights from(TensorSource source) {
    return new Weights(
        new Provider() {
          @Override
          public Tensor provide(String name, Shape shape, Init init) {
            TensorEntry entry = source.entries().get(name);
            if (entry == null) {
              throw new WeightsException(
                  source.description()
                      + ": tensor \""
                      + name
                      + "\" is missing; wanted "
                      + shape
                      + nearest(name, source.entries().keySet()));
            }
            if (!entry.shape().equals(shape)) {
              throw new WeightsException(
                  source.description()
                      + ": tensor \""
                      + name
                      + "\" has shape "
                      + entry.shape()
                      + "; the model wants "
                      + shape);
            }
            return source.read(name);
          }

          @Override
          public Set<String> names() {
            return source.entries().keySet();
          }

          @Override
          public String description() {
            return source.description();
          }

          @Override
          public void close() {
            source.close();
          }
        },
        "",
        new LinkedHashSet<>());
  }

  /** No memory at all: tensors have names, shapes and types but no values. */
  public static Weights meta() {
    return new Weights(
        new Provider() {
          @Override
          public Tensor provide(String name, Shape shape, Init init) {
            Storage nothing = new Storage(new Device("meta", 0), 0, 0, (a, b) -> {});
            return Tensor.owned(nothing, Layout.contiguous(shape), DType.F32, Scope.current());
          }

          @Override
          public Set<String> names() {
            return Set.of();
          }

          @Override
          public String description() {
            return "meta";
          }
        },
        "",
        new LinkedHashSet<>());
  }

  /** The weights below a name: {@code at("conv1").get("weight", …)} is {@code conv1.weight}. */
  public Weights at(String name) {
    return new Weights(provider, path.isEmpty() ? name : path + "." + name, asked);
  }

  /** The path of this view, empty at the root. */
  public String path() {
    return path;
  }

  /** Whether a stored tensor of this name exists; always false for fresh weights. */
  public boolean has(String name) {
    return provider.names().contains(full(name));
  }

  /**
   * One parameter.
   *
   * @param name its last name, for example {@code weight}
   * @param shape the shape the layer needs
   * @param init how fresh values are drawn
   * @throws WeightsException if the source lacks it or has it in another shape
   */
  public Parameter get(String name, Shape shape, Init init) {
    String full = full(name);
    if (!asked.add(full)) {
      throw new WeightsException("parameter \"" + full + "\" is asked for twice");
    }
    Scope scope = Scope.open();
    try {
      return new Parameter(full, provider.provide(full, shape, init));
    } finally {
      scope.close();
    }
  }

  /**
   * Overwrites parameters that exist already with the stored tensors of the same names, in place.
   *
   * @throws WeightsException if one is missing or of another shape or type; then nothing was
   *     changed
   */
  public void copyInto(Collection<Parameter> parameters) {
    Scope scope = Scope.open();
    try {
      List<Tensor> values = new ArrayList<>();
      for (Parameter p : parameters) {
        Tensor value = provider.provide(p.name(), p.value().shape(), Init.zeros());
        if (value.dtype() != p.value().dtype()) {
          throw new WeightsException(
              provider.description()
                  + ": tensor \""
                  + p.name()
                  + "\" is "
                  + value.dtype().label()
                  + "; the model has it as "
                  + p.value().dtype().label());
        }
        values.add(value);
        asked.add(p.name());
      }
      int i = 0;
      for (Parameter p : parameters) {
        Tensor target = p.value();
        Tensor value = values.get(i++).contiguous();
        Backends.of(target.device())
            .upload(value.address(), target.address(), target.spec().bytes());
        target.storage().changed();
      }
    } finally {
      scope.close();
    }
  }

  /** Stored tensors that no layer has asked for. */
  public List<String> unused() {
    List<String> rest = new ArrayList<>();
    for (String name : provider.names()) {
      if (!asked.contains(name)) {
        rest.add(name);
      }
    }
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
          provider.description()
              + ": "
              + rest.size()
              + " tensors were not used by the model: "
              + String.join(", ", rest.subList(0, Math.min(20, rest.size())))
              + (rest.size() > 20 ? ", …" : ""));
    }
  }

  @Override
  public void close() {
    try {
      provider.close();
    } catch (Exception e) {
      throw new IllegalStateException("closing " + provider.description(), e);
    }
  }

  private String full(String name) {
    return path.isEmpty() ? name : path + "." + name;
  }

  private static String nearest(String name, Set<String> names) {
    @Nullable String best = null;
    String tail = name.substring(name.lastIndexOf('.', name.lastIndexOf('.') - 1) + 1);
    for (String candidate : names) {
      if (candidate.endsWith(tail)) {
        best = candidate;
        break;
      }
    }
    return best == null ? "" : "; there is \"" + best + "\"";
  }
}
