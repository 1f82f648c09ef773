// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.DerivedTensors;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Checkpoints of a DiT in the other {@link DitLayout}. From the original to diffusers the fused
 * product of queries, keys and values is cut in three, the embedders are repeated for each block,
 * and the position table, which diffusers computes, is left out; the other way round they are
 * joined. Tensors are made when they are read. Whatever belongs to neither layout stays as it is,
 * so that strict loading names it.
 *
 * <p>The numerics of the origin stay with its weights: run converted weights with {@code
 * config.toBuilder().namesOf(other)}, which changes names alone. (diffusers itself runs them with
 * its own frequency shift.)
 */
public final class DitCheckpoints {
  private static final Pattern BLOCK =
      Pattern.compile("(blocks|transformer_blocks)\\.(\\d+)\\.(.+)\\.(weight|bias)");

  /** Parts of a block that have one name in each layout: original, diffusers. */
  private static final Map<String, String> IN_BLOCK =
      Map.of(
          "adaLN_modulation.1", "norm1.linear",
          "attn.proj", "attn1.to_out.0",
          "mlp.fc1", "ff.net.0.proj",
          "mlp.fc2", "ff.net.2");

  /** Parts outside of blocks: original, diffusers. */
  private static final Map<String, String> OUTSIDE =
      Map.of(
          "x_embedder.proj", "pos_embed.proj",
          "final_layer.adaLN_modulation.1", "proj_out_1",
          "final_layer.linear", "proj_out_2");

  /** Embedders: original, and diffusers below {@code transformer_blocks.n.norm1.emb}. */
  private static final Map<String, String> EMBEDDERS =
      Map.of(
          "t_embedder.mlp.0", "timestep_embedder.linear_1",
          "t_embedder.mlp.2", "timestep_embedder.linear_2",
          "y_embedder.embedding_table", "class_embedder.embedding_table");

  private static final List<String> PARTS = List.of("to_q", "to_k", "to_v");

  private DitCheckpoints() {}

  /** The layout of a checkpoint, by the name of its patch embedding. */
  public static DitLayout layoutOf(TensorSource source) {
    if (source.entries().containsKey("x_embedder.proj.weight")) {
      return DitLayout.ORIGINAL;
    }
    if (source.entries().containsKey("pos_embed.proj.weight")) {
      return DitLayout.DIFFUSERS;
    }
    throw new WeightsException(
        source.description()
            + ": holds no DiT: neither x_embedder.proj.weight nor pos_embed.proj.weight is there");
  }

  /**
   * A checkpoint in a layout; {@code source} itself if it has it. Closing the result closes it.
   *
   * @param layout the names wanted
   * @param source weights in either layout
   * @param config of the model, for its sizes
   * @throws WeightsException if it is no DiT, or when something is read that the other layout
   *     cannot hold: embedders that differ from block to block, another position table
   */
  public static TensorSource as(DitLayout layout, TensorSource source, DitConfig config) {
    try {
      if (layoutOf(source) == layout) {
        return source;
      }
      return layout == DitLayout.DIFFUSERS
          ? toDiffusers(source, config)
          : toOriginal(source, config);
    } catch (RuntimeException e) {
      source.close();
      throw e;
    }
  }

  /**
   * Tensors in a layout, in the current scope; see {@link #as(DitLayout, TensorSource, DitConfig)}.
   *
   * @param tensors a model's by name, in either layout
   */
  public static Map<String, Tensor> as(
      DitLayout layout, Map<String, Tensor> tensors, DitConfig config) {
    TensorSource source = TensorSource.of(tensors);
    if (layoutOf(source) == layout) {
      return tensors;
    }
    Map<String, Tensor> result = new LinkedHashMap<>();
    try (TensorSource converted = as(layout, source, config)) {
      converted.entries().keySet().forEach(name -> result.put(name, converted.read(name)));
    }
    return result;
  }

  private static TensorSource toDiffusers(TensorSource source, DitConfig config) {
    DerivedTensors d = DerivedTensors.of(source);
    for (Map.Entry<String, TensorEntry> e : source.entries().entrySet()) {
      String name = e.getKey();
      Matcher block = BLOCK.matcher(name);
      String kind = name.substring(name.lastIndexOf('.') + 1);
      String part = name.substring(0, Math.max(0, name.lastIndexOf('.')));
      if (name.equals("pos_embed")) {
        checkTable(source, config);
      } else if (OUTSIDE.containsKey(part)) {
        d.add(OUTSIDE.get(part) + "." + kind, name);
      } else if (EMBEDDERS.containsKey(part)) {
        for (int i = 0; i < config.numLayers(); i++) {
          d.add(embedder(i, EMBEDDERS.get(part)) + "." + kind, name);
        }
      } else if (block.matches() && IN_BLOCK.containsKey(block.group(3))) {
        String stem = "transformer_blocks." + block.group(2) + ".";
        d.add(stem + IN_BLOCK.get(block.group(3)) + "." + kind, name);
      } else if (block.matches() && block.group(3).equals("attn.qkv")) {
        split(d, e.getValue(), "transformer_blocks." + block.group(2) + ".attn1.", kind);
      } else {
        d.add(name, name);
      }
    }
    return d;
  }

  private static void split(DerivedTensors d, TensorEntry entry, String stem, String kind) {
    long rows = entry.dims().isEmpty() ? 0 : entry.dims().getFirst();
    if (rows % 3 != 0) {
      throw new WeightsException(
          d.description() + ": " + entry + " must have three times as many rows as the width");
    }
    int part = Math.toIntExact(rows / 3);
    for (int i = 0; i < 3; i++) {
      int from = i * part;
      d.add(
          rows(stem + PARTS.get(i) + "." + kind, entry, part),
          source -> copy(source.read(entry.name()).slice(0, from, from + part)));
    }
  }

  private static TensorSource toOriginal(TensorSource source, DitConfig config) {
    DerivedTensors d = DerivedTensors.of(source);
    Map<String, String> inBlock = inverse(IN_BLOCK);
    Map<String, String> outside = inverse(OUTSIDE);
    Map<String, String> embedders = inverse(EMBEDDERS);
    for (Map.Entry<String, TensorEntry> e : source.entries().entrySet()) {
      String name = e.getKey();
      Matcher block = BLOCK.matcher(name);
      String kind = name.substring(name.lastIndexOf('.') + 1);
      String part = name.substring(0, Math.max(0, name.lastIndexOf('.')));
      if (outside.containsKey(part)) {
        d.add(outside.get(part) + "." + kind, name);
      } else if (!block.matches()) {
        d.add(name, name);
      } else {
        String inner = block.group(3);
        String stem = "blocks." + block.group(2) + ".";
        String emb = inner.startsWith("norm1.emb.") ? inner.substring(10) : "";
        if (inBlock.containsKey(inner)) {
          d.add(stem + inBlock.get(inner) + "." + kind, name);
        } else if (embedders.containsKey(emb)) {
          shared(d, embedders.get(emb) + "." + kind, e.getValue(), config);
        } else if (inner.equals("attn1.to_q")) {
          joined(d, stem + "attn.qkv." + kind, e.getValue());
        } else if (!inner.equals("attn1.to_k") && !inner.equals("attn1.to_v")) {
          d.add(name, name);
        }
      }
    }
    int side = config.sampleSize() / config.patchSize();
    long tokens = (long) side * side;
    d.add(
        new TensorEntry(
            "pos_embed",
            "F32",
            List.of(1L, tokens, (long) config.width()),
            0,
            tokens * 4 * config.width()),
        stored -> Tensor.of(table(config), DType.F32, Device.CPU, 1, side * side, config.width()));
    return d;
  }

  /** The block's own embedder as the one of all blocks, if it is that of block 0. */
  private static void shared(DerivedTensors d, String name, TensorEntry entry, DitConfig config) {
    Matcher block = BLOCK.matcher(entry.name());
    if (!block.matches() || !block.group(2).equals("0")) {
      return; // compared when block 0's is read
    }
    d.add(
        entry.named(name),
        source -> {
          float[] first = read(source, entry.name());
          for (int i = 1; i < config.numLayers(); i++) {
            String other = entry.name().replaceFirst("\\.0\\.", "." + i + ".");
            if (!Arrays.equals(first, read(source, other))) {
              throw new WeightsException(
                  d.description()
                      + ": \""
                      + other
                      + "\" differs from that of block 0; the original layout has one embedder for"
                      + " all blocks");
            }
          }
          return source.read(entry.name());
        });
  }

  private static float[] read(TensorSource source, String name) {
    Scope scope = Scope.open();
    try {
      return source.read(name).toFloatArray();
    } finally {
      scope.close();
    }
  }

  private static void joined(DerivedTensors d, String name, TensorEntry q) {
    List<String> names = PARTS.stream().map(p -> q.name().replace("to_q", p)).toList();
    int rows = q.dims().isEmpty() ? 0 : Math.toIntExact(3 * q.dims().getFirst());
    d.add(
        rows(name, q, rows),
        source ->
            Scope.run(
                () -> Shaping.concat(0, names.stream().map(source::read).toArray(Tensor[]::new))));
  }

  /** A tensor like {@code entry} with another number of rows. */
  private static TensorEntry rows(String name, TensorEntry entry, int rows) {
    List<Long> dims = new ArrayList<>(entry.dims());
    dims.set(0, (long) rows);
    return new TensorEntry(name, entry.type(), dims, entry.begin(), entry.end());
  }

  private static Map<String, String> inverse(Map<String, String> map) {
    Map<String, String> inverse = new LinkedHashMap<>();
    map.forEach((a, b) -> inverse.put(b, a));
    return inverse;
  }

  private static String embedder(int block, String part) {
    return "transformer_blocks." + block + ".norm1.emb." + part;
  }

  private static double[] table(DitConfig config) {
    int side = config.sampleSize() / config.patchSize();
    return Positions.sinCos(side, side, side, config.width());
  }

  /** diffusers computes the table, so another one would be lost. */
  private static void checkTable(TensorSource source, DitConfig config) {
    float[] stored = read(source, "pos_embed");
    double[] table = table(config);
    boolean equal = stored.length == table.length;
    for (int i = 0; equal && i < table.length; i++) {
      equal = Math.abs(stored[i] - table[i]) < 1e-5;
    }
    if (!equal) {
      throw new WeightsException(
          source.description()
              + ": pos_embed is not the sine-cosine table of "
              + config.sampleSize()
              + " x "
              + config.sampleSize()
              + " pictures, which is the only one that the diffusers layout has");
    }
  }

  /** A copy that does not hold the whole that {@code part} is a slice of. */
  private static Tensor copy(Tensor part) {
    return Shaping.concat(0, part);
  }
}
