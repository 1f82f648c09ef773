// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.LinkedHashMap;
import java.util.Map;

/** The settings that diffusers puts into the metadata of a file, as one JSON string. */
final class DiffusersMetadata {
  /** Their key in the metadata. */
  static final String KEY = "lora_adapter_metadata";

  private DiffusersMetadata() {}

  /** The rule that the metadata gives for one component. */
  static AdapterFile.ScaleRule rule(String json, String component) {
    JsonNode root;
    try {
      root = JsonMapper.builder().build().readTree(json);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(KEY + " is not valid JSON: " + e.getOriginalMessage(), e);
    }
    String prefix = root.has(component + ".lora_alpha") ? component + "." : "";
    JsonNode alpha = root.get(prefix + "lora_alpha");
    Map<String, Double> alphas = new LinkedHashMap<>();
    root.path(prefix + "alpha_pattern")
        .properties()
        .forEach(e -> alphas.put(e.getKey(), e.getValue().asDouble()));
    return new AdapterFile.ScaleRule(
        "the scale is lora_alpha / rank, lora_alpha from the metadata"
            + (root.path(prefix + "use_rslora").asBoolean() ? ", over the root of the rank" : ""),
        alphas,
        alpha == null || !alpha.isNumber() ? null : alpha.asDouble(),
        false,
        root.path(prefix + "use_rslora").asBoolean());
  }
}
