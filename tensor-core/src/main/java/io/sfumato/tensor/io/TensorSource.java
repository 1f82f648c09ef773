// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** Named tensors to be read: a file, the shards of a checkpoint, or a view of another source. */
public interface TensorSource extends AutoCloseable {
  /** Where the tensors come from, for messages. */
  String description();

  /** What there is, by name. */
  Map<String, TensorEntry> entries();

  /** Free strings stored beside the tensors. */
  Map<String, String> metadata();

  /**
   * A copy of one tensor on the CPU, in its stored type, in the current scope.
   *
   * @throws TensorFileException if there is none of this name, or its type is not supported
   */
  Tensor read(String name);

  /**
   * The bits of a tensor whose elements are bytes, as U8 in the current scope, whatever they mean:
   * those of I8 are two's complements.
   *
   * @throws TensorFileException if there is none of this name, or its elements are not bytes
   * @throws UnsupportedOperationException if this source is not a file, a checkpoint, or names for
   *     one of them
   */
  default Tensor readBytes(String name) {
    throw new UnsupportedOperationException(description() + " does not give bytes");
  }

  @Override
  void close();

  /**
   * The same tensors under other names. Closing the result closes this source.
   *
   * @param rule gives the new name for a stored one
   * @throws WeightsException if two tensors would have one name
   */
  default TensorSource rename(UnaryOperator<String> rule) {
    return DerivedTensors.renamed(this, rule);
  }

  /**
   * Tensors in memory. Reading copies them; they must live as long as the source is read.
   *
   * @param tensors by name
   */
  static TensorSource of(Map<String, Tensor> tensors) {
    return new MemoryTensors(tensors);
  }

  /**
   * Opens a safetensors file, a sharded checkpoint ({@code *.json}), or a folder that holds one of
   * them under a name that diffusers or transformers uses. Files without a variant in their name
   * come before those of the variant {@code fp16}, and single files before shards.
   *
   * @throws TensorFileException if there is none, or it is corrupt
   */
  static TensorSource open(Path path) {
    Path file = Files.isDirectory(path) ? find(path) : path;
    return file.toString().endsWith(".json") ? ShardedTensors.open(file) : SafeTensors.open(file);
  }

  private static Path find(Path folder) {
    for (String variant : List.of("", ".fp16")) {
      for (String base : List.of("diffusion_pytorch_model", "model")) {
        String single = base + variant + ".safetensors";
        String index = base + ".safetensors.index" + variant + ".json";
        for (String name : List.of(single, index)) {
          if (Files.exists(folder.resolve(name))) {
            return folder.resolve(name);
          }
        }
      }
    }
    throw new TensorFileException(
        folder,
        "holds neither diffusion_pytorch_model.safetensors nor model.safetensors, nor an index of"
            + " their shards (*.safetensors.index.json)");
  }
}
