// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link AutoencoderKL}, key for key that of diffusers' AutoencoderKL, with
 * its defaults.
 *
 * @param inChannels channels of the pictures
 * @param outChannels channels of the reconstructions
 * @param downBlockTypes {@code DownEncoderBlock2D} or {@code AttnDownEncoderBlock2D} per level
 * @param upBlockTypes {@code UpDecoderBlock2D} or {@code AttnUpDecoderBlock2D} per level, deepest
 *     first
 * @param blockOutChannels channels per level, the widest picture first; every level but the last
 *     halves the picture
 * @param layersPerBlock residual blocks per level of the encoder; the decoder has one more
 * @param actFn activation of the residual blocks, see {@link Activation}; the last one of encoder
 *     and decoder is SiLU always
 * @param latentChannels channels of the latent
 * @param normNumGroups groups of the normalisations
 * @param sampleSize side of the pictures the model was made for, and of tiles
 * @param scalingFactor what latents are multiplied by for diffusion
 * @param shiftFactor what is subtracted from latents first, or null
 * @param latentsMean mean of the latents per channel, or null
 * @param latentsStd standard deviation of the latents per channel, or null
 * @param forceUpcast whether weights stored as F16 are computed with in F32
 * @param useQuantConv whether a 1x1 convolution follows the encoder
 * @param usePostQuantConv whether a 1x1 convolution precedes the decoder
 * @param midBlockAddAttention whether the middles have attention
 */
public record AutoencoderKLConfig(
    int inChannels,
    int outChannels,
    List<String> downBlockTypes,
    List<String> upBlockTypes,
    List<Integer> blockOutChannels,
    int layersPerBlock,
    String actFn,
    int latentChannels,
    int normNumGroups,
    int sampleSize,
    double scalingFactor,
    @Nullable Double shiftFactor,
    @Nullable List<Double> latentsMean,
    @Nullable List<Double> latentsStd,
    boolean forceUpcast,
    boolean useQuantConv,
    boolean usePostQuantConv,
    boolean midBlockAddAttention) {

  private static final String CLASS = "AutoencoderKL";

  /**
   * Checks the values together.
   *
   * @throws IllegalArgumentException listing everything wrong
   */
  public AutoencoderKLConfig {
    downBlockTypes = List.copyOf(downBlockTypes);
    upBlockTypes = List.copyOf(upBlockTypes);
    blockOutChannels = List.copyOf(blockOutChannels);
    latentsMean = latentsMean == null ? null : List.copyOf(latentsMean);
    latentsStd = latentsStd == null ? null : List.copyOf(latentsStd);
    var rules = new AutoencoderRules(CLASS);
    rules.levels(downBlockTypes, upBlockTypes, blockOutChannels, normNumGroups, false);
    rules.positive("in_channels", inChannels);
    rules.positive("out_channels", outChannels);
    rules.positive("latent_channels", latentChannels);
    rules.positive("layers_per_block", layersPerBlock);
    rules.positive("sample_size", sampleSize);
    rules.activation(actFn);
    rules.scalingFactor(scalingFactor);
    rules.check(
        shiftFactor == null || Double.isFinite(shiftFactor),
        "shift_factor must be finite or null; got " + shiftFactor);
    rules.check(
        (latentsMean == null) == (latentsStd == null),
        "latents_mean and latents_std must be given together");
    rules.check(
        latentsMean == null || latentsMean.size() == latentChannels,
        "latents_mean must have one value per latent channel; got " + latentsMean);
    rules.check(
        latentsStd == null || latentsStd.size() == latentChannels,
        "latents_std must have one value per latent channel; got " + latentsStd);
    rules.check(
        latentsStd == null || latentsStd.stream().allMatch(s -> s > 0),
        "latents_std must be positive; got " + latentsStd);
    rules.check(
        latentsMean == null || shiftFactor == null,
        "shift_factor and latents_mean both shift the latents; one must be null");
    rules.done();
  }

  /** By how much the latent is smaller than the picture, per side. */
  public int factor() {
    return 1 << (blockOutChannels.size() - 1);
  }

  /** The same with another factor of latents for diffusion. */
  public AutoencoderKLConfig withScalingFactor(double factor) {
    return new AutoencoderKLConfig(
        inChannels,
        outChannels,
        downBlockTypes,
        upBlockTypes,
        blockOutChannels,
        layersPerBlock,
        actFn,
        latentChannels,
        normNumGroups,
        sampleSize,
        factor,
        shiftFactor,
        latentsMean,
        latentsStd,
        forceUpcast,
        useQuantConv,
        usePostQuantConv,
        midBlockAddAttention);
  }

  /** A configuration to be refined: diffusers' defaults. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Reads diffusers' {@code config.json}. Missing keys take the defaults, keys that start with an
   * underscore are the writer's own.
   *
   * @throws IllegalArgumentException if the file is not valid, listing everything wrong and every
   *     key that is not known
   */
  public static AutoencoderKLConfig read(Path file) {
    return fromJson(ModelConfig.read(file, CLASS), file.toString());
  }

  /** The configuration of a JSON object; see {@link #read}. */
  public static AutoencoderKLConfig fromJson(JsonNode json, String where) {
    var r = new ModelConfig.Reader(json, where);
    AutoencoderKLConfig d = builder().build();
    return r.build(
        () ->
            new AutoencoderKLConfig(
                r.integer("in_channels", d.inChannels),
                r.integer("out_channels", d.outChannels),
                r.texts("down_block_types", d.downBlockTypes),
                r.texts("up_block_types", d.upBlockTypes),
                r.integers("block_out_channels", d.blockOutChannels),
                r.integer("layers_per_block", d.layersPerBlock),
                r.text("act_fn", d.actFn),
                r.integer("latent_channels", d.latentChannels),
                r.integer("norm_num_groups", d.normNumGroups),
                r.integer("sample_size", d.sampleSize),
                r.number("scaling_factor", d.scalingFactor),
                r.numberOrNull("shift_factor", d.shiftFactor),
                r.numbersOrNull("latents_mean", d.latentsMean),
                r.numbersOrNull("latents_std", d.latentsStd),
                r.bool("force_upcast", d.forceUpcast),
                r.bool("use_quant_conv", d.useQuantConv),
                r.bool("use_post_quant_conv", d.usePostQuantConv),
                r.bool("mid_block_add_attention", d.midBlockAddAttention)));
  }

  /** All keys as diffusers writes them into {@code config.json}. */
  public Map<String, @Nullable Object> toMap() {
    var m = ModelConfig.start(CLASS);
    m.put("act_fn", actFn);
    m.put("block_out_channels", blockOutChannels);
    m.put("down_block_types", downBlockTypes);
    m.put("force_upcast", forceUpcast);
    m.put("in_channels", inChannels);
    m.put("latent_channels", latentChannels);
    m.put("latents_mean", latentsMean);
    m.put("latents_std", latentsStd);
    m.put("layers_per_block", layersPerBlock);
    m.put("mid_block_add_attention", midBlockAddAttention);
    m.put("norm_num_groups", normNumGroups);
    m.put("out_channels", outChannels);
    m.put("sample_size", sampleSize);
    m.put("scaling_factor", scalingFactor);
    m.put("shift_factor", shiftFactor);
    m.put("up_block_types", upBlockTypes);
    m.put("use_post_quant_conv", usePostQuantConv);
    m.put("use_quant_conv", useQuantConv);
    return m;
  }

  /** Collects values that differ from diffusers' defaults. */
  public static final class Builder {
    private int inChannels = 3;
    private int outChannels = 3;
    private List<String> down = List.of("DownEncoderBlock2D");
    private List<String> up = List.of("UpDecoderBlock2D");
    private List<Integer> channels = List.of(64);
    private int layersPerBlock = 1;
    private String actFn = "silu";
    private int latentChannels = 4;
    private int normNumGroups = 32;
    private int sampleSize = 32;
    private double scalingFactor = 0.18215;
    private @Nullable Double shiftFactor;
    private boolean forceUpcast = true;
    private boolean quantConvs = true;
    private boolean midBlockAddAttention = true;

    private Builder() {}

    /** Channels of pictures and reconstructions. */
    public Builder imageChannels(int n) {
      inChannels = n;
      outChannels = n;
      return this;
    }

    /** Channels per level, the widest picture first; no level but the middle has attention. */
    public Builder levels(List<Integer> blockOutChannels) {
      return levels(blockOutChannels, blockOutChannels.stream().map(c -> false).toList());
    }

    /**
     * Channels per level, with attention on the levels whose flag is set.
     *
     * @param blockOutChannels channels, the widest picture first
     * @param attention one flag per level
     */
    public Builder levels(List<Integer> blockOutChannels, List<Boolean> attention) {
      channels = List.copyOf(blockOutChannels);
      down = attention.stream().map(a -> AutoencoderRules.DOWN.get(a ? 1 : 0)).toList();
      up = attention.reversed().stream().map(a -> AutoencoderRules.UP.get(a ? 1 : 0)).toList();
      return this;
    }

    /** Residual blocks per level of the encoder. */
    public Builder layersPerBlock(int n) {
      layersPerBlock = n;
      return this;
    }

    /** Activation of the residual blocks. */
    public Builder actFn(String name) {
      actFn = name;
      return this;
    }

    /** Channels of the latent. */
    public Builder latentChannels(int n) {
      latentChannels = n;
      return this;
    }

    /** Groups of the normalisations. */
    public Builder normNumGroups(int n) {
      normNumGroups = n;
      return this;
    }

    /** Side of the pictures, and of tiles. */
    public Builder sampleSize(int size) {
      sampleSize = size;
      return this;
    }

    /** What latents are multiplied by for diffusion. */
    public Builder scalingFactor(double factor) {
      scalingFactor = factor;
      return this;
    }

    /** What is subtracted from latents before they are scaled. */
    public Builder shiftFactor(double shift) {
      shiftFactor = shift;
      return this;
    }

    /** Whether weights stored as F16 are computed with in F32. */
    public Builder forceUpcast(boolean force) {
      forceUpcast = force;
      return this;
    }

    /** Whether there are 1x1 convolutions on both sides of the latent. */
    public Builder quantConvs(boolean use) {
      quantConvs = use;
      return this;
    }

    /** Whether the middles have attention. */
    public Builder midBlockAddAttention(boolean add) {
      midBlockAddAttention = add;
      return this;
    }

    /** The configuration. */
    public AutoencoderKLConfig build() {
      return new AutoencoderKLConfig(
          inChannels,
          outChannels,
          down,
          up,
          channels,
          layersPerBlock,
          actFn,
          latentChannels,
          normNumGroups,
          sampleSize,
          scalingFactor,
          shiftFactor,
          null,
          null,
          forceUpcast,
          quantConvs,
          quantConvs,
          midBlockAddAttention);
    }
  }
}
