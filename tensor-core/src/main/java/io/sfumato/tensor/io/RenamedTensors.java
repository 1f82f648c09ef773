// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;

/** The tensors of another source under other names. */
final class RenamedTensors implements TensorSource {
  private final TensorSource source;
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();
  private final Map<String, String> stored = new LinkedHashMap<>();

  RenamedTensors(TensorSource source, UnaryOperator<String> rule) {
    this.source = source;
    source
        .entries()
        .forEach(
            (old, entry) -> {
              String name = rule.apply(old);
              String other = stored.put(name, old);
              if (other != null) {
                throw new WeightsException(
                    source.description()
                        + ": tensors "
                        + HeaderJson.quoted(other)
                        + " and "
                        + HeaderJson.quoted(old)
                        + " would both be called "
                        + HeaderJson.quoted(name));
              }
              entries.put(name, entry.named(name));
            });
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
    return source.read(stored.getOrDefault(name, name));
  }

  @Override
  public Tensor readBytes(String name) {
    return source.readBytes(stored.getOrDefault(name, name));
  }

  @Override
  public void close() {
    source.close();
  }
}
