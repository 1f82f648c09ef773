// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorSource;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * What a file of adapters holds, as far as it can be told without the model.
 *
 * @param dialect how its tensors are named
 * @param kinds the number of layers of each kind, by the kind's name
 * @param ranks the number of layers of each rank
 * @param others tensors that are part of no adapter
 */
public record AdapterSummary(
    Dialect dialect, Map<String, Integer> kinds, Map<Integer, Integer> ranks, List<String> others) {

  /** Kinds by a factor that each layer has; the first that fits counts. */
  private static final Map<String, String> KINDS = new LinkedHashMap<>();

  static {
    KINDS.put("lora_magnitude_vector", "DoRA");
    KINDS.put("lora_mid.weight", "LoCon");
    KINDS.put("lora_A.weight", "LoRA");
    KINDS.put("lora_embedding_A", "LoRA");
    KINDS.put("hada_w1_a", "LoHa");
    KINDS.put("lokr_w1", "LoKr");
    KINDS.put("lokr_w1_a", "LoKr");
    KINDS.put("ia3_l", "(IA)³");
    KINDS.put("on_input", "(IA)³");
    KINDS.put("a1.weight", "GLoRA");
    KINDS.put("oft_blocks", "OFT or BOFT of LyCORIS");
    KINDS.put("diff", "full difference");
    KINDS.put("w_norm", "norm");
  }

  /** Factors with the rank as their number of rows. */
  private static final List<String> WITH_RANK =
      List.of(
          "lora_A.weight", "lora_embedding_A", "hada_w1_b", "lokr_w2_b", "lokr_w1_b", "a2.weight");

  /** Copies the collections. */
  public AdapterSummary {
    kinds = Map.copyOf(kinds);
    ranks = new TreeMap<>(ranks);
    others = List.copyOf(others);
  }

  /**
   * Summarises a file.
   *
   * @param file an open safetensors file
   * @return null if it holds no adapter
   */
  public static @Nullable AdapterSummary of(TensorSource file) {
    Set<String> keys = file.entries().keySet();
    Map<String, Map<String, TensorEntry>> layers = new LinkedHashMap<>();
    List<String> others = new ArrayList<>();
    file.entries()
        .forEach(
            (key, entry) -> {
              Dialect.Part part = Dialect.split(key);
              if (part == null) {
                others.add(key);
              } else {
                layers
                    .computeIfAbsent(part.layer(), l -> new LinkedHashMap<>())
                    .put(part.factor(), entry);
              }
            });
    Map<String, Integer> kinds = new TreeMap<>();
    Map<Integer, Integer> ranks = new TreeMap<>();
    layers.forEach(
        (layer, factors) -> {
          String kind = kind(factors.keySet());
          if (kind == null) {
            factors.values().forEach(entry -> others.add(entry.name()));
            return;
          }
          kinds.merge(kind, 1, Integer::sum);
          WITH_RANK.stream()
              .filter(factors::containsKey)
              .findFirst()
              .map(factors::get)
              .filter(entry -> !entry.dims().isEmpty())
              .ifPresent(
                  entry -> ranks.merge(Math.toIntExact(entry.dims().getFirst()), 1, Integer::sum));
        });
    return kinds.isEmpty() ? null : new AdapterSummary(Dialect.of(keys), kinds, ranks, others);
  }

  private static @Nullable String kind(Set<String> factors) {
    for (Map.Entry<String, String> e : KINDS.entrySet()) {
      if (factors.contains(e.getKey())) {
        return e.getValue();
      }
    }
    return null;
  }
}
