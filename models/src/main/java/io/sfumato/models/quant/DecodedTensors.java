// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A source whose coded weights have their true shapes, and are decoded when they are read. */
final class DecodedTensors implements TensorSource {
  private final TensorSource source;
  private final Map<String, CodedFile.Header> headers;
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();

  /**
   * A view; closing it closes the source.
   *
   * @param headers all coded weights by the name of the layer
   */
  DecodedTensors(TensorSource source, Map<String, CodedFile.Header> headers) {
    this.source = source;
    this.headers = new LinkedHashMap<>();
    this.entries.putAll(source.entries());
    headers.forEach(
        (layer, header) -> {
          header.names().forEach(this.entries::remove);
          String name = CodedFile.name(layer, CodedFile.WEIGHT);
          List<Long> dims =
              Arrays.stream(header.coding().shape().dims()).mapToObj(Long::valueOf).toList();
          long bytes = header.coding().shape().numel() * header.dtype().bytes();
          this.entries.put(name, new TensorEntry(name, header.dtype().name(), dims, 0, bytes));
          this.headers.put(name, header);
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
    CodedFile.Header header = headers.get(name);
    return header == null
        ? source.read(name)
        : Scope.run(
            () ->
                CodedFile.coded(source, header, CodedFile.read(source, header))
                    .dequantize(header.dtype()));
  }

  @Override
  public void close() {
    source.close();
  }
}
