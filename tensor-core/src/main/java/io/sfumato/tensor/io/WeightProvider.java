// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Makes the parameters that {@link Weights} hands out. */
sealed interface WeightProvider extends AutoCloseable {
  /** Where the weights come from, for messages. */
  String description();

  /** The names of stored tensors; none if nothing is stored. */
  default Set<String> names() {
    return Set.of();
  }

  /** Why there is no tensor of this name and shape, or null. */
  default @Nullable String problem(String name, Shape shape) {
    return null;
  }

  /** A tensor in the current scope; type and device as found where they are null. */
  Tensor provide(
      String name, Shape shape, Init init, @Nullable DType dtype, @Nullable Device device);

  @Override
  default void close() {}

  /** Drawn anew, from the root {@code rng} and the parameter's name. */
  record Fresh(Rng rng) implements WeightProvider {
    @Override
    public String description() {
      return "initial weights";
    }

    @Override
    public Tensor provide(
        String name, Shape shape, Init init, @Nullable DType dtype, @Nullable Device device) {
      DType type = Objects.requireNonNullElse(dtype, DType.F32);
      Device place = Objects.requireNonNullElse(device, Device.CPU);
      return init.create(new TensorSpec(shape, type, place), rng.fork(name));
    }
  }

  /** Shapes without memory. */
  record Meta() implements WeightProvider {
    @Override
    public String description() {
      return "weights without values";
    }

    @Override
    public Tensor provide(
        String name, Shape shape, Init init, @Nullable DType dtype, @Nullable Device device) {
      Storage nothing = new Storage(Device.META, 0, 0, (address, bytes) -> {});
      DType type = Objects.requireNonNullElse(dtype, DType.F32);
      return Tensor.owned(nothing, Layout.contiguous(shape), type, Scope.current());
    }
  }

  /** Read from a source. */
  record Stored(TensorSource source) implements WeightProvider {
    @Override
    public String description() {
      return source.description();
    }

    @Override
    public Set<String> names() {
      return source.entries().keySet();
    }

    @Override
    public @Nullable String problem(String name, Shape shape) {
      TensorEntry entry = source.entries().get(name);
      if (entry == null) {
        return "tensor \"" + name + "\" is missing; wanted " + shape + nearest(name);
      }
      return entry.hasShape(shape)
          ? null
          : "tensor \"" + name + "\" has shape " + entry.dimsText() + "; the model wants " + shape;
    }

    /** Why the stored tensor, converted to {@code as} if given, is not of type {@code wanted}. */
    @Nullable String typeProblem(String name, DType wanted, @Nullable DType as) {
      TensorEntry entry = source.entries().get(name);
      DType type = entry == null ? null : entry.dtype().orElse(null);
      if (type != null && type.isFloating() && as != null) {
        type = as;
      }
      return type == wanted
          ? null
          : "tensor \""
              + name
              + "\" is "
              + (entry == null ? "missing" : entry.type())
              + "; the model has it as "
              + wanted.name()
              + (type != null && type.isFloating() && wanted.isFloating()
                  ? " (Weights.as(DType." + wanted.name() + ") converts)"
                  : "");
    }

    @Override
    public Tensor provide(
        String name, Shape shape, Init init, @Nullable DType dtype, @Nullable Device device) {
      Tensor value = read(name, dtype);
      return device == null ? value : value.to(device);
    }

    /** The tensor on the CPU, row-major, in type {@code as} if it is floating. */
    Tensor read(String name, @Nullable DType as) {
      Tensor value = source.read(name);
      if (as != null && value.dtype().isFloating()) {
        value = value.to(as);
      }
      return value.contiguous();
    }

    private String nearest(String name) {
      String tail = name.substring(name.lastIndexOf('.', name.lastIndexOf('.') - 1) + 1);
      for (String candidate : names()) {
        if (candidate.equals(tail) || candidate.endsWith("." + tail)) {
          return "; there is \"" + candidate + "\"";
        }
      }
      return "";
    }

    @Override
    public void close() {
      source.close();
    }
  }
}
