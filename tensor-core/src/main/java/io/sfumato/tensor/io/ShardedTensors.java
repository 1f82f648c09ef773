// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Tensor;
import java.io.IOException;
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
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();

  private ShardedTensors(
      Path index, Map<String, SafeTensors> shards, Map<String, SafeTensors> owner) {
    this.index = index;
    this.shards = shards;
    this.owner = owner;
    for (SafeTensors shard : shards.values()) {
      entries.putAll(shard.entries());
    }
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
        requirePlain(index, name);
        if (Files.exists(folder.resolve(name))) {
          shards.put(name, SafeTensors.open(folder.resolve(name)));
        } else {
          problems.add("shard " + HeaderJson.quoted(name) + " is missing");
        }
      }
      Map<String, SafeTensors> owner = new LinkedHashMap<>();
      weightMap.forEach(
          (tensor, file) -> {
            SafeTensors shard = shards.get(file);
            if (shard != null && shard.entries().containsKey(tensor)) {
              owner.put(tensor, shard);
            } else if (shard != null) {
              problems.add("tensor " + HeaderJson.quoted(tensor) + " is not in " + file);
            }
          });
      shards.forEach(
          (file, shard) -> {
            for (String tensor : shard.entries().keySet()) {
              if (!weightMap.containsKey(tensor)) {
                problems.add(
                    "tensor " + HeaderJson.quoted(tensor) + " of " + file + " is not in the index");
              } else if (!file.equals(weightMap.get(tensor))) {
                problems.add("tensor " + HeaderJson.quoted(tensor) + " is also in " + file);
              }
            }
          });
      if (!problems.isEmpty()) {
        throw new TensorFileException(
            index,
            String.join("; ", problems.subList(0, Math.min(20, problems.size())))
                + (problems.size() > 20 ? "; and " + (problems.size() - 20) + " more" : ""));
      }
      return new ShardedTensors(index, shards, owner);
    } catch (RuntimeException e) {
      shards.values().forEach(SafeTensors::close);
      throw e;
    }
  }

  /** Shards lie beside the index; a name must not lead anywhere else, on any system. */
  private static void requirePlain(Path index, String name) {
    boolean plain = !name.isEmpty() && !name.equals(".") && !name.equals("..");
    for (int i = 0; i < name.length(); i++) {
      char c = name.charAt(i);
      plain &= "/\\:".indexOf(c) < 0 && !Character.isISOControl(c);
    }
    if (!plain) {
      throw new TensorFileException(
          index, "shard name " + HeaderJson.quoted(name) + " must be a plain file name");
    }
  }

  private static Map<String, String> weightMap(Path index) {
    if (!Files.isRegularFile(index)) {
      throw new TensorFileException(index, Files.exists(index) ? "is not a file" : "no such file");
    }
    Map<String, String> result = new LinkedHashMap<>();
    boolean[] found = {false};
    try {
      if (Files.size(index) > MAX_INDEX) {
        throw new TensorFileException(index, "index is larger than " + MAX_INDEX + " bytes");
      }
      HeaderJson reader = new HeaderJson(Files.readAllBytes(index));
      reader.object(
          key -> {
            if (!key.equals("weight_map")) {
              reader.skip();
            } else if (found[0]) {
              throw reader.malformed("second weight_map");
            } else {
              found[0] = true;
              reader.object(
                  tensor -> {
                    if (result.put(tensor, reader.string()) != null) {
                      throw reader.malformed("second entry of " + HeaderJson.quoted(tensor));
                    }
                  });
            }
          });
      reader.end();
    } catch (HeaderJson.Malformed e) {
      throw new TensorFileException(index, "index is not valid: " + e.getMessage(), e);
    } catch (IOException e) {
      throw new TensorFileException(index, "cannot be read: " + e.getMessage(), e);
    }
    if (!found[0]) {
      throw new TensorFileException(index, "index has no object \"weight_map\"");
    }
    return result;
  }

  @Override
  public String description() {
    return index.toString();
  }

  @Override
  public Map<String, TensorEntry> entries() {
    return Collections.unmodifiableMap(entries);
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
      throw new TensorFileException(index, "holds no tensor " + HeaderJson.quoted(name));
    }
    return shard.read(name);
  }

  @Override
  public void close() {
    shards.values().forEach(SafeTensors::close);
  }
}
