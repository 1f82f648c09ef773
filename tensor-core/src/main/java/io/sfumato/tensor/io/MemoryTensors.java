// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Updates;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** Tensors in memory as a source; they stay their owner's and must outlive it. */
final class MemoryTensors implements TensorSource {
  private final Map<String, Tensor> tensors;
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();

  MemoryTensors(Map<String, Tensor> tensors) {
    this.tensors = new LinkedHashMap<>(tensors);
    tensors.forEach(
        (name, value) ->
            entries.put(
                name,
                new TensorEntry(
                    name,
                    value.dtype().name(),
                    Arrays.stream(value.shape().dims()).mapToObj(Long::valueOf).toList(),
                    0,
                    value.spec().bytes())));
  }

  @Override
  public String description() {
    return entries.size() + " tensors in memory";
  }

  @Override
  public Map<String, TensorEntry> entries() {
    return Collections.unmodifiableMap(entries);
  }

  @Override
  public Map<String, String> metadata() {
    return Map.of();
  }

  @Override
  public Tensor read(String name) {
    Tensor value = tensors.get(name);
    if (value == null) {
      throw new WeightsException(description() + ": there is none called " + name);
    }
    return copy(value.to(Device.CPU));
  }

  @Override
  public Tensor readBytes(String name) {
    return read(name);
  }

  @Override
  public void close() {}

  private static Tensor copy(Tensor value) {
    Tensor copy = Tensor.zeros(value.spec());
    Updates.copy(copy, value);
    return copy;
  }
}
