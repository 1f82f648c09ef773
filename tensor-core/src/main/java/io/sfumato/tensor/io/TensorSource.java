// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Tensor;
import java.util.Map;

/** Named tensors to be read: a file, the shards of a checkpoint, or a map. */
public interface TensorSource extends AutoCloseable {
  /** Where the tensors come from, for messages. */
  String description();

  /** What there is, by name. */
  Map<String, TensorEntry> entries();

  /** Free strings stored beside the tensors. */
  Map<String, String> metadata();

  /**
   * A copy of one tensor on the CPU, in the current scope.
   *
   * @throws TensorFileException if there is none of this name, or its type is not supported
   */
  Tensor read(String name);

  @Override
  void close();
}
