// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.ConfigCheck;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link UNet2D}, key for key that of diffusers' UNet2DModel. Defaults are
 * diffusers' too.
 *
 * @param sampleSize side of the pictures the model was made for, or null
 * @param inChannels channels of the input
 * @param outChannels channels of the output
 * @param centerInputSample whether the input is mapped by 2x - 1 first
 * @param timeEmbeddingType {@code positional}, {@code fourier} or {@code learned}
 * @param timeEmbeddingDim width of the time embedding, or null for four times the first level
 * @param freqShift downscale_freq_shift of the positional features
 * @param flipSinToCos whether the positional features are [cos, sin]
 * @param downBlockTypes one of {@link UNet2D#DOWN} per level
 * @param midBlockType {@code UNetMidBlock2D}, or null for none
 * @param upBlockTypes one of {@link UNet2D#UP} per level, deepest first
 * @param blockOutChannels channels per level
 * @param layersPerBlock residual blocks per level going down; one more going up
 * @param midBlockScaleFactor divisor of the residual sums in the middle
 * @param downsamplePadding padding of the strided convolutions; 0 pads right and bottom only
 * @param downsampleType {@code conv} or {@code resnet} (attention levels only)
 * @param upsampleType {@code conv} or {@code resnet} (attention levels only)
 * @param dropout probability of dropout in residual blocks while training
 * @param actFn activation, see {@link Activation}
 * @param attentionHeadDim width of one attention head, or null for a single head
 * @param normNumGroups groups of the normalisations
 * @param attnNormNumGroups groups of the normalisation before the middle attention, or null
 * @param normEps epsilon of the normalisations
 * @param resnetTimeScaleShift {@code default} (add) or {@code scale_shift}
 * @param addAttention whether the middle has attention
 * @param classEmbedType null, {@code timestep} or {@code identity}
 * @param numClassEmbeds number of classes for an embedding table, or null
 * @param numTrainTimesteps size of the learned time embedding, or null
 */
public record UNet2DConfig(
    @Nullable Integer sampleSize,
    int inChannels,
    int outChannels,
    boolean centerInputSample,
    String timeEmbeddingType,
    @Nullable Integer timeEmbeddingDim,
    double freqShift,
    boolean flipSinToCos,
    List<String> downBlockTypes,
    @Nullable String midBlockType,
    List<String> upBlockTypes,
    List<Integer> blockOutChannels,
    int layersPerBlock,
    double midBlockScaleFactor,
    int downsamplePadding,
    String downsampleType,
    String upsampleType,
    double dropout,
    String actFn,
    @Nullable Integer attentionHeadDim,
    int normNumGroups,
    @Nullable Integer attnNormNumGroups,
    double normEps,
    String resnetTimeScaleShift,
    boolean addAttention,
    @Nullable String classEmbedType,
    @Nullable Integer numClassEmbeds,
    @Nullable Integer numTrainTimesteps) {

  /** Checks the values together; the message lists everything wrong. */
  public UNet2DConfig {
    downBlockTypes = List.copyOf(downBlockTypes);
    upBlockTypes = List.copyOf(upBlockTypes);
    blockOutChannels = List.copyOf(blockOutChannels);
    ConfigCheck wrong = new ConfigCheck("UNet2DModel config");
    int levels = blockOutChannels.size();
    wrong.require(levels > 0, "block_out_channels must not be empty");
    wrong.require(
        downBlockTypes.size() == levels && upBlockTypes.size() == levels,
        "down_block_types and up_block_types must have one entry per level of block_out_channels");
    oneOf(wrong, "down_block_types", downBlockTypes, UNet2D.DOWN);
    oneOf(wrong, "up_block_types", upBlockTypes, UNet2D.UP);
    oneOf(
        wrong,
        "time_embedding_type",
        List.of(timeEmbeddingType),
        List.of("positional", "fourier", "learned"));
    oneOf(wrong, "downsample_type", List.of(downsampleType), List.of("conv", "resnet"));
    oneOf(wrong, "upsample_type", List.of(upsampleType), List.of("conv", "resnet"));
    oneOf(
        wrong,
        "resnet_time_scale_shift",
        List.of(resnetTimeScaleShift),
        List.of("default", "scale_shift"));
    if (midBlockType != null) {
      oneOf(wrong, "mid_block_type", List.of(midBlockType), List.of("UNetMidBlock2D"));
    }
    if (classEmbedType != null) {
      oneOf(wrong, "class_embed_type", List.of(classEmbedType), List.of("timestep", "identity"));
    }
    wrong.require(
        inChannels > 0 && outChannels > 0, "in_channels and out_channels must be positive");
    wrong.require(layersPerBlock > 0, "layers_per_block must be positive");
    wrong.require(
        downsamplePadding == 0 || downsamplePadding == 1,
        "downsample_padding must be 0 or 1; got " + downsamplePadding);
    wrong.require(normEps > 0, "norm_eps must be positive; got " + normEps);
    wrong.require(
        midBlockScaleFactor > 0,
        "mid_block_scale_factor must be positive; got " + midBlockScaleFactor);
    wrong.require(
        attnNormNumGroups == null
            || (attnNormNumGroups > 0
                && levels > 0
                && blockOutChannels.getLast() % attnNormNumGroups == 0),
        "attn_norm_num_groups "
            + attnNormNumGroups
            + " must divide the last of block_out_channels");
    wrong.require(
        (numClassEmbeds == null || numClassEmbeds > 0)
            && (numTrainTimesteps == null || numTrainTimesteps > 0)
            && (timeEmbeddingDim == null || timeEmbeddingDim > 0),
        "num_class_embeds, num_train_timesteps and time_embedding_dim must be positive or null");
    wrong.require(normNumGroups > 0, "norm_num_groups must be positive");
    wrong.require(dropout >= 0 && dropout < 1, "dropout must be in [0, 1)");
    wrong.require(
        !timeEmbeddingType.equals("learned") || numTrainTimesteps != null,
        "time_embedding_type learned needs num_train_timesteps");
    for (int c : blockOutChannels) {
      wrong.require(
          c > 0 && c % normNumGroups == 0,
          "block_out_channels " + c + " must be divisible by norm_num_groups " + normNumGroups);
      wrong.require(
          attentionHeadDim == null || (attentionHeadDim > 0 && c % attentionHeadDim == 0),
          "block_out_channels "
              + c
              + " must be divisible by attention_head_dim "
              + attentionHeadDim);
    }
    try {
      Activation.parse(actFn);
    } catch (IllegalArgumentException e) {
      wrong.add(String.valueOf(e.getMessage()));
    }
    wrong.done();
  }

  private static void oneOf(
      ConfigCheck wrong, String key, List<String> values, List<String> known) {
    for (String v : values) {
      wrong.require(known.contains(v), key + " must be of " + known + "; got " + v);
    }
  }

  /** A configuration to be refined: diffusers' defaults. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Reads diffusers' {@code config.json}. Missing keys take the defaults, keys that start with an
   * underscore are ignored, unknown keys are logged.
   *
   * @throws IllegalArgumentException if the file is not valid, listing everything wrong
   */
  public static UNet2DConfig read(Path file) {
    return fromJson(ModelConfig.read(file, "UNet2DModel"), file.toString());
  }

  /** The configuration of a JSON object; see {@link #read}. */
  public static UNet2DConfig fromJson(JsonNode json, String where) {
    var r = new ModelConfig.Reader(json, where);
    UNet2DConfig d = builder().build();
    UNet2DConfig config =
        new UNet2DConfig(
            r.integerOrNull("sample_size", d.sampleSize),
            r.integer("in_channels", d.inChannels),
            r.integer("out_channels", d.outChannels),
            r.bool("center_input_sample", d.centerInputSample),
            r.text("time_embedding_type", d.timeEmbeddingType),
            r.integerOrNull("time_embedding_dim", d.timeEmbeddingDim),
            r.number("freq_shift", d.freqShift),
            r.bool("flip_sin_to_cos", d.flipSinToCos),
            r.texts("down_block_types", d.downBlockTypes),
            r.textOrNull("mid_block_type", d.midBlockType),
            r.texts("up_block_types", d.upBlockTypes),
            r.integers("block_out_channels", d.blockOutChannels),
            r.integer("layers_per_block", d.layersPerBlock),
            r.number("mid_block_scale_factor", d.midBlockScaleFactor),
            r.integer("downsample_padding", d.downsamplePadding),
            r.text("downsample_type", d.downsampleType),
            r.text("upsample_type", d.upsampleType),
            r.number("dropout", d.dropout),
            r.text("act_fn", d.actFn),
            r.integerOrNull("attention_head_dim", d.attentionHeadDim),
            r.integer("norm_num_groups", d.normNumGroups),
            r.integerOrNull("attn_norm_num_groups", d.attnNormNumGroups),
            r.number("norm_eps", d.normEps),
            r.text("resnet_time_scale_shift", d.resnetTimeScaleShift),
            r.bool("add_attention", d.addAttention),
            r.textOrNull("class_embed_type", d.classEmbedType),
            r.integerOrNull("num_class_embeds", d.numClassEmbeds),
            r.integerOrNull("num_train_timesteps", d.numTrainTimesteps));
    r.finish();
    return config;
  }

  /** All keys as diffusers writes them into {@code config.json}. */
  public Map<String, @Nullable Object> toMap() {
    var m = ModelConfig.start("UNet2DModel");
    m.put("act_fn", actFn);
    m.put("add_attention", addAttention);
    m.put("attention_head_dim", attentionHeadDim);
    m.put("attn_norm_num_groups", attnNormNumGroups);
    m.put("block_out_channels", blockOutChannels);
    m.put("center_input_sample", centerInputSample);
    m.put("class_embed_type", classEmbedType);
    m.put("down_block_types", downBlockTypes);
    m.put("downsample_padding", downsamplePadding);
    m.put("downsample_type", downsampleType);
    m.put("dropout", dropout);
    m.put("flip_sin_to_cos", flipSinToCos);
    m.put("freq_shift", ModelConfig.wholeIfPossible(freqShift));
    m.put("in_channels", inChannels);
    m.put("layers_per_block", layersPerBlock);
    m.put("mid_block_scale_factor", ModelConfig.wholeIfPossible(midBlockScaleFactor));
    m.put("mid_block_type", midBlockType);
    m.put("norm_eps", normEps);
    m.put("norm_num_groups", normNumGroups);
    m.put("num_class_embeds", numClassEmbeds);
    m.put("num_train_timesteps", numTrainTimesteps);
    m.put("out_channels", outChannels);
    m.put("resnet_time_scale_shift", resnetTimeScaleShift);
    m.put("sample_size", sampleSize);
    m.put("time_embedding_dim", timeEmbeddingDim);
    m.put("time_embedding_type", timeEmbeddingType);
    m.put("up_block_types", upBlockTypes);
    m.put("upsample_type", upsampleType);
    return m;
  }

  /** Collects values that differ from diffusers' defaults. */
  public static final class Builder {
    private @Nullable Integer sampleSize;
    private int inChannels = 3;
    private int outChannels = 3;
    private List<String> down =
        List.of("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D");
    private List<String> up =
        List.of("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D");
    private List<Integer> channels = List.of(224, 448, 672, 896);
    private int layersPerBlock = 2;
    private double dropout;
    private @Nullable Integer attentionHeadDim = 8;
    private int normNumGroups = 32;
    private String resnetTimeScaleShift = "default";
    private @Nullable Integer numClassEmbeds;

    private Builder() {}

    /** Side of the pictures. */
    public Builder sampleSize(int size) {
      sampleSize = size;
      return this;
    }

    /** Channels of input and output. */
    public Builder imageChannels(int n) {
      inChannels = n;
      outChannels = n;
      return this;
    }

    /** Channels of the output alone, for learned variances. */
    public Builder outChannels(int n) {
      outChannels = n;
      return this;
    }

    /**
     * Channels per level, with attention on the levels whose flag is set.
     *
     * @param blockOutChannels channels, widest picture first
     * @param attention one flag per level
     */
    public Builder levels(List<Integer> blockOutChannels, List<Boolean> attention) {
      channels = List.copyOf(blockOutChannels);
      down = attention.stream().map(a -> a ? "AttnDownBlock2D" : "DownBlock2D").toList();
      up = attention.reversed().stream().map(a -> a ? "AttnUpBlock2D" : "UpBlock2D").toList();
      return this;
    }

    /** Residual blocks per level. */
    public Builder layersPerBlock(int n) {
      layersPerBlock = n;
      return this;
    }

    /** Probability of dropout. */
    public Builder dropout(double p) {
      dropout = p;
      return this;
    }

    /** Width of an attention head. */
    public Builder attentionHeadDim(int width) {
      attentionHeadDim = width;
      return this;
    }

    /** Groups of the normalisations. */
    public Builder normNumGroups(int n) {
      normNumGroups = n;
      return this;
    }

    /** {@code default} or {@code scale_shift}. */
    public Builder resnetTimeScaleShift(String mode) {
      resnetTimeScaleShift = mode;
      return this;
    }

    /** Number of classes of the embedding table. */
    public Builder numClassEmbeds(int n) {
      numClassEmbeds = n;
      return this;
    }

    /** The configuration. */
    public UNet2DConfig build() {
      return new UNet2DConfig(
          sampleSize,
          inChannels,
          outChannels,
          false,
          "positional",
          null,
          0,
          true,
          down,
          "UNetMidBlock2D",
          up,
          channels,
          layersPerBlock,
          1,
          1,
          "conv",
          "conv",
          dropout,
          "silu",
          attentionHeadDim,
          normNumGroups,
          null,
          1e-5,
          resnetTimeScaleShift,
          true,
          null,
          numClassEmbeds,
          null);
    }
  }
}
