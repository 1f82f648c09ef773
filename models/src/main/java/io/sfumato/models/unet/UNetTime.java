// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.ModelConfig;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The keys of a {@link UNet2DConditionConfig} about the embedding of timesteps.
 *
 * @param type {@code positional} or {@code fourier} (time_embedding_type)
 * @param dim width of the embedding (time_embedding_dim), or null: four times the first level,
 *     twice for fourier
 * @param flipSinToCos whether the features are [cos, sin] (flip_sin_to_cos)
 * @param freqShift downscale_freq_shift of the positional features (freq_shift)
 * @param actFn another activation of the whole embedding, or null (time_embedding_act_fn)
 * @param postAct another activation behind the last product, or null (timestep_post_act)
 * @param condProjDim width of the guidance embedding of consistency models, or null
 *     (time_cond_proj_dim)
 */
public record UNetTime(
    String type,
    @Nullable Integer dim,
    boolean flipSinToCos,
    double freqShift,
    @Nullable String actFn,
    @Nullable String postAct,
    @Nullable Integer condProjDim) {
  static UNetTime read(ModelConfig.Reader r) {
    return new UNetTime(
        r.text("time_embedding_type", "positional"),
        r.integerOrNull("time_embedding_dim", null),
        r.bool("flip_sin_to_cos", true),
        r.number("freq_shift", 0),
        r.textOrNull("time_embedding_act_fn", null),
        r.textOrNull("timestep_post_act", null),
        r.integerOrNull("time_cond_proj_dim", null));
  }

  void check(UNet2DConditionConfig.Problems wrong) {
    wrong.oneOf("time_embedding_type", type, List.of("positional", "fourier"));
    wrong.positive("time_embedding_dim", dim);
    wrong.positive("time_cond_proj_dim", condProjDim);
    wrong.activation("time_embedding_act_fn", actFn);
    wrong.activation("timestep_post_act", postAct);
    wrong.unless(
        !isFourier() || dim == null || dim % 2 == 0,
        "time_embedding_dim must be even for fourier; got " + dim);
  }

  boolean isFourier() {
    return type.equals("fourier");
  }

  /** Width of the embedding for a width of the first level. */
  int width(int c0) {
    return dim != null ? dim : isFourier() ? 2 * c0 : 4 * c0;
  }

  /** Width of the features for a width of the first level. */
  int features(int c0) {
    return isFourier() ? width(c0) : c0;
  }

  void write(Map<String, @Nullable Object> m) {
    m.put("flip_sin_to_cos", flipSinToCos);
    m.put("freq_shift", ModelConfig.wholeIfPossible(freqShift));
    m.put("time_cond_proj_dim", condProjDim);
    m.put("time_embedding_act_fn", actFn);
    m.put("time_embedding_dim", dim);
    m.put("time_embedding_type", type);
    m.put("timestep_post_act", postAct);
  }
}
