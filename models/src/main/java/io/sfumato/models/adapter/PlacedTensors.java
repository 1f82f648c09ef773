// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** Tensors of a file under our names, some with axes of size one more or less. */
final class PlacedTensors implements TensorSource {
  private final TensorSource source;
  private final Map<String, String> keys = new LinkedHashMap<>();
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();

  PlacedTensors(TensorSource source) {
    this.source = source;
  }

  /** Offers the file's tensor {@code key} as {@code name}, in a shape of as many elements. */
  void place(String name, String key, Shape shape) {
    TensorEntry stored = stored(source, key);
    keys.put(name, key);
    entries.put(
        name,
        new TensorEntry(
            name,
            stored.type(),
            Arrays.stream(shape.dims()).mapToObj(Long::valueOf).toList(),
            stored.begin(),
            stored.end()));
  }

  static TensorEntry stored(TensorSource source, String key) {
    TensorEntry entry = source.entries().get(key);
    if (entry == null) {
      throw new IllegalArgumentException("there is no tensor " + key);
    }
    return entry;
  }

  @Override
  public String description() {
    return source.description();
  }

  @Override
  public Map<String, TensorEntry> entries() {
    return Collections.unmodifiableMap(entries);
  }

  @Override
  public Map<String, String> metadata() {
    return source.metadata();
  }

  @Override
  public Tensor read(String name) {
    String key = keys.get(name);
    if (key == null) {
      throw new IllegalArgumentException("there is no tensor " + name);
    }
    TensorEntry entry = stored(this, name);
    int[] dims = entry.dims().stream().mapToInt(Long::intValue).toArray();
    return source.read(key).reshape(dims);
  }

  @Override
  public void close() {
    source.close();
  }
}
