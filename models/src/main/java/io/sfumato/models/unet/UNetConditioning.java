// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.ModelConfig;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The keys of a {@link UNet2DConditionConfig} about classes and other embeddings that are added to
 * that of the timestep, and about the projection of the context.
 *
 * @param classEmbedType null, {@code timestep}, {@code identity}, {@code projection} or {@code
 *     simple_projection}
 * @param numClassEmbeds number of classes of a table, for classEmbedType null; or null
 * @param classEmbeddingsConcat whether the embedding of the class is joined to that of the timestep
 *     instead of being added
 * @param projectionClassEmbeddingsInputDim width of what projections get, of classes or of
 *     text_time
 * @param additionEmbedType null or {@code text_time} (Stable Diffusion XL)
 * @param additionTimeEmbedDim width of the features of one number of text_time
 * @param additionEmbedTypeNumHeads heads of additionEmbedType {@code text}, which is not supported;
 *     kept for files
 * @param encoderHidDim width of the context before its projection, or null for no projection
 * @param encoderHidDimType null or {@code text_proj}
 */
public record UNetConditioning(
    @Nullable String classEmbedType,
    @Nullable Integer numClassEmbeds,
    boolean classEmbeddingsConcat,
    @Nullable Integer projectionClassEmbeddingsInputDim,
    @Nullable String additionEmbedType,
    @Nullable Integer additionTimeEmbedDim,
    int additionEmbedTypeNumHeads,
    @Nullable Integer encoderHidDim,
    @Nullable String encoderHidDimType) {
  static UNetConditioning read(ModelConfig.Reader r) {
    Integer hidden = r.integerOrNull("encoder_hid_dim", null);
    String type = r.textOrNull("encoder_hid_dim_type", null);
    return new UNetConditioning(
        r.textOrNull("class_embed_type", null),
        r.integerOrNull("num_class_embeds", null),
        r.bool("class_embeddings_concat", false),
        r.integerOrNull("projection_class_embeddings_input_dim", null),
        r.textOrNull("addition_embed_type", null),
        r.integerOrNull("addition_time_embed_dim", null),
        r.integer("addition_embed_type_num_heads", 64),
        hidden,
        type == null && hidden != null ? "text_proj" : type); // diffusers' rule
  }

  void check(UNet2DConditionConfig.Problems wrong, boolean oneContextWidth) {
    if (classEmbedType != null) {
      wrong.oneOf(
          "class_embed_type",
          classEmbedType,
          List.of("timestep", "identity", "projection", "simple_projection"));
    }
    if (additionEmbedType != null) {
      wrong.oneOf("addition_embed_type", additionEmbedType, List.of("text_time"));
    }
    if (encoderHidDimType != null) {
      wrong.oneOf("encoder_hid_dim_type", encoderHidDimType, List.of("text_proj"));
      wrong.unless(encoderHidDim != null, "encoder_hid_dim must be given for " + encoderHidDimType);
      wrong.unless(oneContextWidth, "encoder_hid_dim needs one cross_attention_dim for all levels");
    }
    wrong.positive("num_class_embeds", numClassEmbeds);
    wrong.positive("projection_class_embeddings_input_dim", projectionClassEmbeddingsInputDim);
    wrong.positive("addition_time_embed_dim", additionTimeEmbedDim);
    wrong.positive("encoder_hid_dim", encoderHidDim);
    boolean projects = classEmbedType != null && classEmbedType.endsWith("projection");
    wrong.unless(
        !(projects || isTextTime()) || projectionClassEmbeddingsInputDim != null,
        "projection_class_embeddings_input_dim must be given for class_embed_type "
            + classEmbedType
            + " and addition_embed_type "
            + additionEmbedType);
    wrong.unless(
        !isTextTime() || additionTimeEmbedDim != null,
        "addition_time_embed_dim must be given for addition_embed_type text_time");
    wrong.unless(
        !classEmbeddingsConcat || hasClasses(),
        "class_embeddings_concat needs class_embed_type or num_class_embeds");
    wrong.unless(
        !classEmbeddingsConcat || additionEmbedType == null,
        "class_embeddings_concat does not go with addition_embed_type, whose embedding is"
            + " narrower");
  }

  /** Whether the model takes classes. */
  public boolean hasClasses() {
    return classEmbedType != null || numClassEmbeds != null;
  }

  /** Whether the model takes the pooled text and the sizes of Stable Diffusion XL. */
  public boolean isTextTime() {
    return "text_time".equals(additionEmbedType);
  }

  void write(Map<String, @Nullable Object> m) {
    m.put("addition_embed_type", additionEmbedType);
    m.put("addition_embed_type_num_heads", additionEmbedTypeNumHeads);
    m.put("addition_time_embed_dim", additionTimeEmbedDim);
    m.put("class_embed_type", classEmbedType);
    m.put("class_embeddings_concat", classEmbeddingsConcat);
    m.put("encoder_hid_dim", encoderHidDim);
    m.put("encoder_hid_dim_type", encoderHidDimType);
    m.put("num_class_embeds", numClassEmbeds);
    m.put("projection_class_embeddings_input_dim", projectionClassEmbeddingsInputDim);
  }
}
