// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;

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

  /**
   * Writes tensors as {@code base.safetensors}, or, where that would hold more than {@code
   * maxShardBytes} of values, as shards {@code base-00001-of-0000N.safetensors} and their index
   * {@code base.safetensors.index.json}. Shards are filled in the order of the map; a tensor larger
   * than the limit has one to itself. Each file is written atomically, the index last, and files of
   * the same base that a former save left are deleted then. An index that is to be replaced is
   * deleted first: a process that is killed leaves what {@link TensorSource#open} reads as a whole,
   * or refuses, but never old values among new ones.
   *
   * @param folder where to
   * @param base for example {@code diffusion_pytorch_model}
   * @return the file to open: the index, or the only file
   * @throws TensorFileException if a file cannot be written
   */
  public static Path save(
      Path folder, String base, Map<String, Tensor> tensors, long maxShardBytes) {
    if (maxShardBytes < 1) {
      throw new IllegalArgumentException("maxShardBytes must be positive; got " + maxShardBytes);
    }
    Path index = folder.resolve(base + ".safetensors.index.json");
    requirePlain(index, base);
    List<Map<String, Tensor>> shards = split(tensors, maxShardBytes);
    Map<String, String> weightMap = new TreeMap<>();
    List<String> files = new ArrayList<>();
    long total = 0;
    for (int i = 0; i < shards.size(); i++) {
      String part = String.format(Locale.ROOT, "-%05d-of-%05d", i + 1, shards.size());
      String file = base + (shards.size() == 1 ? "" : part) + ".safetensors";
      files.add(file);
      for (Map.Entry<String, Tensor> e : shards.get(i).entrySet()) {
        weightMap.put(e.getKey(), file);
        total += e.getValue().spec().bytes();
      }
    }
    try {
      if (shards.size() > 1) {
        Files.deleteIfExists(index);
      }
      for (int i = 0; i < shards.size(); i++) {
        SafeTensors.save(folder.resolve(files.get(i)), shards.get(i));
      }
      if (shards.size() == 1) {
        Files.deleteIfExists(index);
      } else {
        byte[] json = indexJson(weightMap, total).getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(index, out -> AtomicFile.writeFully(out, ByteBuffer.wrap(json)));
      }
      deleteOthers(folder, base, files);
    } catch (IOException e) {
      throw new TensorFileException(index, "cannot be replaced: " + e.getMessage(), e);
    }
    return shards.size() == 1 ? folder.resolve(files.getFirst()) : index;
  }

  private static List<Map<String, Tensor>> split(Map<String, Tensor> tensors, long maxShardBytes) {
    List<Map<String, Tensor>> shards = new ArrayList<>(List.of(new LinkedHashMap<>()));
    long used = 0;
    for (Map.Entry<String, Tensor> e : tensors.entrySet()) {
      long bytes = e.getValue().spec().bytes();
      if (used > 0 && bytes > maxShardBytes - used) {
        shards.add(new LinkedHashMap<>());
        used = 0;
      }
      shards.getLast().put(e.getKey(), e.getValue());
      used += bytes;
    }
    return shards;
  }

  /** As the reference writes it: sorted keys, indented by two. */
  private static String indexJson(Map<String, String> weightMap, long total) {
    StringBuilder json = new StringBuilder("{\n  \"metadata\": {\n    \"total_size\": ");
    json.append(total).append("\n  },\n  \"weight_map\": {");
    String separator = "\n    ";
    for (Map.Entry<String, String> e : weightMap.entrySet()) {
      json.append(separator);
      SafeTensors.quote(json, e.getKey());
      json.append(": ");
      SafeTensors.quote(json, e.getValue());
      separator = ",\n    ";
    }
    return json.append("\n  }\n}\n").toString();
  }

  private static void deleteOthers(Path folder, String base, List<String> files)
      throws IOException {
    Pattern ours = Pattern.compile(Pattern.quote(base) + "(-\\d{5}-of-\\d{5})?\\.safetensors");
    try (DirectoryStream<Path> all = Files.newDirectoryStream(folder)) {
      for (Path file : all) {
        String name = String.valueOf(file.getFileName());
        if (ours.matcher(name).matches() && !files.contains(name)) {
          Files.delete(file);
        }
      }
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
    return shard(name).read(name);
  }

  @Override
  public Tensor readBytes(String name) {
    return shard(name).readBytes(name);
  }

  private SafeTensors shard(String name) {
    SafeTensors shard = owner.get(name);
    if (shard == null) {
      throw new TensorFileException(index, "holds no tensor " + HeaderJson.quoted(name));
    }
    return shard;
  }

  @Override
  public void close() {
    shards.values().forEach(SafeTensors::close);
  }
}
