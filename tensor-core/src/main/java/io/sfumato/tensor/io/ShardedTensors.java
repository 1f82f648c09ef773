// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A checkpoint split into several safetensors files, described by an index such as {@code
 * diffusion_pytorch_model.safetensors.index.json}: {@code {"metadata": {…}, "weight_map": {name:
 * file}}}. All shards are opened and compared with the index at once.
 */
public final class ShardedTensors implements TensorSource {
  private static final long MAX_INDEX = 256L << 20;

  private final Path index;
  private final Map<String, SafeTensors> shards;
  private final Map<String, SafeTensors> owner;

  private ShardedTensors(
      Path index, Map<String, SafeTensors> shards, Map<String, SafeTensors> owner) {
    this.index = index;
    this.shards = shards;
    this.owner = owner;
  }

  /**
   * Opens all shards of an index.
   *
   * @throws TensorFileException if the index or a shard is missing or corrupt, or they disagree;
   *     the message lists every disagreement
   */
  public static ShardedTensors open(Path index) {
    Map<String, String> weightMap = weightMap(index);
    Path folder = AtomicFile.folderOf(index);
    Map<String, SafeTensors> shards = new TreeMap<>();
    try {
      List<String> problems = new ArrayList<>();
      for (String name : new TreeSet<>(weightMap.values())) {
        if (!Path.of(name).getFileName().toString().equals(name)) {
          throw new TensorFileException(index, "shard name \"" + name + "\" must be a plain name");
        }
        if (Files.exists(folder.resolve(name))) {
          shards.put(name, SafeTensors.open(folder.resolve(name)));
        } else {
          problems.add("shard " + name + " is missing");
        }
      }
      Map<String, SafeTensors> owner = new LinkedHashMap<>();
      weightMap.forEach(
          (tensor, file) -> {
            SafeTensors shard = shards.get(file);
            if (shard != null && shard.entries().containsKey(tensor)) {
              owner.put(tensor, shard);
            } else if (shard != null) {
              problems.add("tensor \"" + tensor + "\" is not in " + file);
            }
          });
      shards.forEach(
          (file, shard) -> {
            for (String tensor : shard.entries().keySet()) {
              if (!file.equals(weightMap.get(tensor))) {
                problems.add("tensor \"" + tensor + "\" of " + file + " is not in the index");
              }
            }
          });
      if (!problems.isEmpty()) {
        throw new TensorFileException(index, String.join("; ", problems));
      }
      return new ShardedTensors(index, shards, owner);
    } catch (RuntimeException e) {
      shards.values().forEach(SafeTensors::close);
      throw e;
    }
  }

  private static Map<String, String> weightMap(Path index) {
    try {
      if (Files.size(index) > MAX_INDEX) {
        throw new TensorFileException(index, "index is larger than " + MAX_INDEX + " bytes");
      }
      String text = Files.readString(index, StandardCharsets.UTF_8);
      Map<String, Object> object = HeaderJson.parseObject(text);
      if (!(object.get("weight_map") instanceof Map<?, ?> map)) {
        throw new TensorFileException(index, "index has no object \"weight_map\"");
      }
      Map<String, String> result = new LinkedHashMap<>();
      map.forEach(
          (k, v) -> {
            if (!(v instanceof String file)) {
              throw new TensorFileException(index, "weight_map of \"" + k + "\" is no string");
            }
            result.put((String) k, file);
          });
      return result;
    } catch (HeaderJson.Malformed e) {
      throw new TensorFileException(index, "index is not valid: " + e.getMessage(), e);
    } catch (IOException e) {
      throw new TensorFileException(index, "cannot be read: " + e.getMessage(), e);
    }
  }

  @Override
  public String description() {
    return index.toString();
  }

  @Override
  public Map<String, TensorEntry> entries() {
    Map<String, TensorEntry> all = new LinkedHashMap<>();
    owner.forEach(
        (name, shard) -> {
          TensorEntry entry = shard.entries().get(name);
          if (entry != null) {
            all.put(name, entry);
          }
        });
    return Collections.unmodifiableMap(all);
  }

  @Override
  public Map<String, String> metadata() {
    Map<String, String> all = new TreeMap<>();
    shards.values().forEach(s -> all.putAll(s.metadata()));
    return all;
  }

  @Override
  public Tensor read(String name) {
    SafeTensors shard = owner.get(name);
    if (shard == null) {
      throw new TensorFileException(index, "holds no tensor \"" + name + "\"");
    }
    return shard.read(name);
  }

  @Override
  public void close() {
    shards.values().forEach(SafeTensors::close);
  }
}
