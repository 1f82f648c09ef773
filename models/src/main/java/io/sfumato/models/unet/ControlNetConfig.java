// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link ControlNet}, key for key that of diffusers' ControlNetModel.
 *
 * @param unet what it has in common with the U-Net; the way up has no meaning
 * @param conditioningChannels channels of the picture that controls
 * @param conditioningEmbeddingOutChannels channels of the convolutions that embed it; between two
 *     of them it is halved
 * @param conditioningChannelOrder {@code rgb}, or {@code bgr} for networks that were trained with
 *     reversed channels; the picture is given in rgb in both cases
 * @param globalPoolConditions whether residuals are averaged over the picture
 */
public record ControlNetConfig(
    UNet2DConditionConfig unet,
    int conditioningChannels,
    List<Integer> conditioningEmbeddingOutChannels,
    String conditioningChannelOrder,
    boolean globalPoolConditions) {
  private static final String CLASS = "ControlNetModel";

  /** Keys that a U-Net has and a control network lacks. */
  private static final Set<String> NOT_HERE =
      Set.of(
          "attention_type",
          "center_input_sample",
          "class_embeddings_concat",
          "conv_in_kernel",
          "conv_out_kernel",
          "cross_attention_norm",
          "dropout",
          "dual_cross_attention",
          "mid_block_only_cross_attention",
          "out_channels",
          "resnet_out_scale_factor",
          "resnet_skip_time_act",
          "reverse_transformer_layers_per_block",
          "sample_size",
          "time_cond_proj_dim",
          "time_embedding_act_fn",
          "time_embedding_dim",
          "time_embedding_type",
          "timestep_post_act",
          "up_block_types");

  /** Checks the values together; the message lists everything wrong. */
  public ControlNetConfig {
    conditioningEmbeddingOutChannels = List.copyOf(conditioningEmbeddingOutChannels);
    var wrong = new UNet2DConditionConfig.Problems();
    wrong.positive("conditioning_channels", conditioningChannels);
    wrong.oneOf(
        "controlnet_conditioning_channel_order", conditioningChannelOrder, List.of("rgb", "bgr"));
    wrong.unless(
        !conditioningEmbeddingOutChannels.isEmpty()
            && conditioningEmbeddingOutChannels.stream().allMatch(c -> c > 0),
        "conditioning_embedding_out_channels must be positive, at least one; got "
            + conditioningEmbeddingOutChannels);
    wrong.unless(
        !"simple_projection".equals(unet.conditioning().classEmbedType()),
        "class_embed_type simple_projection is for U-Nets alone");
    wrong.unless(unet.midBlockType() != null, "mid_block_type must not be null");
    wrong.throwIfAny(CLASS + " config");
  }

  /**
   * Reads diffusers' {@code config.json}. Missing keys take the defaults, keys that start with an
   * underscore are ignored, unknown keys are refused.
   *
   * @throws IllegalArgumentException if the file is not valid, listing everything wrong
   */
  public static ControlNetConfig read(Path file) {
    return fromJson(ModelConfig.read(file, CLASS), file.toString());
  }

  /**
   * The configuration with some values that differ from diffusers' defaults.
   *
   * @param values by diffusers' keys
   * @throws IllegalArgumentException listing everything wrong
   */
  public static ControlNetConfig of(Map<String, ?> values) {
    return fromJson(new ObjectMapper().valueToTree(values), "values");
  }

  /** The configuration of a JSON object; see {@link #read}. */
  public static ControlNetConfig fromJson(JsonNode json, String where) {
    ObjectNode own = new ObjectMapper().createObjectNode();
    ObjectNode shared = json.deepCopy();
    for (String key :
        List.of(
            "conditioning_channels",
            "conditioning_embedding_out_channels",
            "controlnet_conditioning_channel_order",
            "global_pool_conditions")) {
      JsonNode value = shared.remove(key);
      if (value != null) {
        own.set(key, value);
      }
    }
    var r = new ModelConfig.Reader(own, where);
    Set<String> foreign = new TreeSet<>(NOT_HERE);
    foreign.removeIf(key -> !json.has(key));
    if (!foreign.isEmpty()) {
      r.problem("keys of U-Nets that control networks lack: " + foreign);
    }
    ArrayNode up = shared.putArray("up_block_types");
    JsonNode down = json.get("down_block_types");
    for (int i = 0; i < (down == null ? 4 : down.size()); i++) {
      up.add("UpBlock2D");
    }
    int channels = r.integer("conditioning_channels", 3);
    List<Integer> embedding =
        r.integers("conditioning_embedding_out_channels", List.of(16, 32, 96, 256));
    String order = r.text("controlnet_conditioning_channel_order", "rgb");
    boolean pool = r.bool("global_pool_conditions", false);
    return r.build(
        () ->
            new ControlNetConfig(
                UNet2DConditionConfig.fromJson(shared, CLASS), channels, embedding, order, pool));
  }

  /** All keys as diffusers writes them into {@code config.json}. */
  public Map<String, @Nullable Object> toMap() {
    Map<String, @Nullable Object> m = unet.toMap();
    m.keySet().removeAll(NOT_HERE);
    m.putAll(ModelConfig.start(CLASS));
    m.put("conditioning_channels", conditioningChannels);
    m.put("conditioning_embedding_out_channels", conditioningEmbeddingOutChannels);
    m.put("controlnet_conditioning_channel_order", conditioningChannelOrder);
    m.put("global_pool_conditions", globalPoolConditions);
    return m;
  }
}
