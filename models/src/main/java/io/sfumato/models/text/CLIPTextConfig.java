// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.text;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ConfigCheck;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link CLIPTextModel}, key for key that of transformers' CLIPTextConfig.
 * Defaults are transformers' too.
 *
 * @param projection whether the model is a CLIPTextModelWithProjection
 * @param vocabSize number of tokens
 * @param hiddenSize width
 * @param intermediateSize width of the feed-forward part
 * @param projectionDim width of the projected text embedding
 * @param numHiddenLayers number of blocks
 * @param numAttentionHeads heads per attention; divides the width
 * @param maxPositionEmbeddings the most tokens of a text
 * @param hiddenAct activation: quick_gelu, gelu, gelu_new, gelu_pytorch_tanh, silu or relu
 * @param layerNormEps epsilon of the normalisations
 * @param attentionDropout dropout of attention weights in training; only 0 is supported
 * @param initializerRange kept for the file
 * @param initializerFactor kept for the file
 * @param padTokenId kept for the file
 * @param bosTokenId kept for the file
 * @param eosTokenId the token at which a text is pooled; with 2, the default of old files, it is
 *     pooled at the token of the largest number instead
 */
public record CLIPTextConfig(
    boolean projection,
    int vocabSize,
    int hiddenSize,
    int intermediateSize,
    int projectionDim,
    int numHiddenLayers,
    int numAttentionHeads,
    int maxPositionEmbeddings,
    String hiddenAct,
    double layerNormEps,
    double attentionDropout,
    double initializerRange,
    double initializerFactor,
    @Nullable Integer padTokenId,
    @Nullable Integer bosTokenId,
    @Nullable Integer eosTokenId) {
  /** The version of transformers whose format is written. */
  public static final String TRANSFORMERS_VERSION = "5.18.0";

  private static final List<String> ACTIVATIONS =
      List.of("quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "relu");
  private static final String PLAIN = "CLIPTextModel";
  private static final String PROJECTED = "CLIPTextModelWithProjection";

  /** Checks the values together; the message lists everything wrong. */
  public CLIPTextConfig {
    ConfigCheck wrong = new ConfigCheck("CLIPTextModel");
    wrong.positive("vocab_size", vocabSize);
    wrong.positive("hidden_size", hiddenSize);
    wrong.positive("intermediate_size", intermediateSize);
    wrong.positive("projection_dim", projectionDim);
    wrong.positive("num_hidden_layers", numHiddenLayers);
    wrong.positive("num_attention_heads", numAttentionHeads);
    wrong.positive("max_position_embeddings", maxPositionEmbeddings);
    if (numAttentionHeads > 0 && hiddenSize % numAttentionHeads != 0) {
      wrong.add(
          "hidden_size "
              + hiddenSize
              + " must be divisible by num_attention_heads "
              + numAttentionHeads);
    }
    if (!ACTIVATIONS.contains(hiddenAct)) {
      wrong.add("hidden_act must be one of " + ACTIVATIONS + "; got '" + hiddenAct + "'");
    }
    if (!(layerNormEps > 0)) {
      wrong.add("layer_norm_eps must be positive; got " + layerNormEps);
    }
    if (attentionDropout != 0) {
      wrong.add("attention_dropout is not supported, it must be 0; got " + attentionDropout);
    }
    wrong.done();
  }

  /**
   * The text encoder of Stable Diffusion 1: CLIP ViT-L/14.
   *
   * @return its configuration
   */
  public static CLIPTextConfig vitL14() {
    return new CLIPTextConfig(
        false, 49408, 768, 3072, 768, 12, 12, 77, "quick_gelu", 1e-5, 0, 0.02, 1, 1, 0, 2);
  }

  /**
   * Reads a {@code config.json}.
   *
   * @throws IllegalArgumentException if it is unreadable or of another model, listing everything
   *     wrong
   */
  public static CLIPTextConfig read(Path file) {
    return fromJson(ModelConfig.read(file), file.toString());
  }

  /** Reads a configuration; {@code where} names it in messages. */
  public static CLIPTextConfig fromJson(JsonNode json, String where) {
    var r = new ModelConfig.Reader(json, where);
    String className = PLAIN;
    List<String> architectures = r.texts("architectures", List.of(PLAIN));
    if (!architectures.isEmpty()) {
      className = architectures.getFirst();
    }
    if (!className.equals(PLAIN) && !className.equals(PROJECTED)) {
      throw new IllegalArgumentException(
          where
              + ": is the configuration of a "
              + className
              + ", not of a "
              + PLAIN
              + " or "
              + PROJECTED);
    }
    String dtype = r.text("dtype", r.text("torch_dtype", "float32"));
    r.text("model_type", "clip_text_model");
    r.text("transformers_version", "");
    r.number("dropout", 0);
    var config =
        new CLIPTextConfig(
            className.equals(PROJECTED),
            r.integer("vocab_size", 49408),
            r.integer("hidden_size", 512),
            r.integer("intermediate_size", 2048),
            r.integer("projection_dim", 512),
            r.integer("num_hidden_layers", 12),
            r.integer("num_attention_heads", 8),
            r.integer("max_position_embeddings", 77),
            r.text("hidden_act", "quick_gelu"),
            r.number("layer_norm_eps", 1e-5),
            r.number("attention_dropout", 0),
            r.number("initializer_range", 0.02),
            r.number("initializer_factor", 1),
            r.integerOrNull("pad_token_id", 1),
            r.integerOrNull("bos_token_id", 49406),
            r.integerOrNull("eos_token_id", 49407));
    r.finish();
    if (!List.of("float32", "float16", "bfloat16").contains(dtype)) {
      throw new IllegalArgumentException(where + ": dtype is not known: " + dtype);
    }
    return config;
  }

  /**
   * The keys and values as transformers writes them.
   *
   * @param dtype the type of the weights: float32, float16 or bfloat16
   */
  public Map<String, @Nullable Object> toMap(String dtype) {
    Map<String, @Nullable Object> map = new TreeMap<>();
    map.put("architectures", List.of(projection ? PROJECTED : PLAIN));
    map.put("attention_dropout", attentionDropout);
    map.put("bos_token_id", bosTokenId);
    map.put("dtype", dtype);
    map.put("eos_token_id", eosTokenId);
    map.put("hidden_act", hiddenAct);
    map.put("hidden_size", hiddenSize);
    map.put("initializer_factor", initializerFactor);
    map.put("initializer_range", initializerRange);
    map.put("intermediate_size", intermediateSize);
    map.put("layer_norm_eps", layerNormEps);
    map.put("max_position_embeddings", maxPositionEmbeddings);
    map.put("model_type", "clip_text_model");
    map.put("num_attention_heads", numAttentionHeads);
    map.put("num_hidden_layers", numHiddenLayers);
    map.put("pad_token_id", padTokenId);
    map.put("projection_dim", projectionDim);
    map.put("transformers_version", TRANSFORMERS_VERSION);
    map.put("vocab_size", vocabSize);
    return map;
  }
}
