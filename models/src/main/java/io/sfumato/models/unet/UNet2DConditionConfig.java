// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.OneOrEach;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link UNet2DCondition}, key for key that of diffusers'
 * UNet2DConditionModel, with diffusers' defaults. What diffusers knows and this library does not is
 * refused by name.
 *
 * {@snippet :
 * var config = UNet2DConditionConfig.of(
 *     Map.of("block_out_channels", List.of(32, 64, 128, 128), "cross_attention_dim", 64));
 * }
 *
 * @param sampleSize side of the latent pictures the model was made for, one or one for each side;
 *     or null
 * @param inChannels channels of the input
 * @param outChannels channels of the output
 * @param centerInputSample whether the input is mapped by 2x - 1 first
 * @param convInKernel side of the kernel of the first convolution
 * @param convOutKernel side of the kernel of the last one
 * @param actFn activation, see {@link Activation}
 * @param dropout probability of dropout in residual blocks while training
 * @param normNumGroups groups of the normalisations
 * @param normEps their epsilon, but for those of transformers
 * @param downBlockTypes one of {@link #DOWN} per level
 * @param midBlockType {@code UNetMidBlock2DCrossAttn}, {@code UNetMidBlock2D} (one residual block
 *     alone), or null for none
 * @param upBlockTypes one of {@link #UP} per level, deepest first
 * @param blockOutChannels channels per level
 * @param layersPerBlock residual blocks per level going down; one more going up
 * @param downsamplePadding padding of the strided convolutions; 0 pads right and bottom only
 * @param midBlockScaleFactor divisor of the residual sums in the middle
 * @param resnetTimeScaleShift {@code default} (add) or {@code scale_shift}
 * @param transformers what stands behind the residual blocks
 * @param time the embedding of timesteps
 * @param conditioning what is added to it, and what becomes of the context
 */
public record UNet2DConditionConfig(
    @Nullable OneOrEach<Integer> sampleSize,
    int inChannels,
    int outChannels,
    boolean centerInputSample,
    int convInKernel,
    int convOutKernel,
    String actFn,
    double dropout,
    int normNumGroups,
    double normEps,
    List<String> downBlockTypes,
    @Nullable String midBlockType,
    List<String> upBlockTypes,
    List<Integer> blockOutChannels,
    OneOrEach<Integer> layersPerBlock,
    int downsamplePadding,
    double midBlockScaleFactor,
    String resnetTimeScaleShift,
    UNetTransformers transformers,
    UNetTime time,
    UNetConditioning conditioning) {
  private static final String CLASS = "UNet2DConditionModel";

  /** Kinds of levels on the way down. */
  public static final List<String> DOWN =
      List.of("CrossAttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D");

  /** Kinds of levels on the way up. */
  public static final List<String> UP =
      List.of("CrossAttnUpBlock2D", "UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D");

  /** Kinds of middles. */
  public static final List<String> MID = List.of("UNetMidBlock2DCrossAttn", "UNetMidBlock2D");

  /** Checks the values together; the message lists everything wrong. */
  public UNet2DConditionConfig {
    downBlockTypes = List.copyOf(downBlockTypes);
    upBlockTypes = List.copyOf(upBlockTypes);
    blockOutChannels = List.copyOf(blockOutChannels);
    Problems wrong = new Problems();
    int levels = blockOutChannels.size();
    boolean perLevel =
        levels > 0 && downBlockTypes.size() == levels && upBlockTypes.size() == levels;
    wrong.unless(
        perLevel,
        "down_block_types and up_block_types must have one entry per level of block_out_channels,"
            + " at least one");
    downBlockTypes.forEach(t -> wrong.oneOf("down_block_types", t, DOWN));
    upBlockTypes.forEach(t -> wrong.oneOf("up_block_types", t, UP));
    if (midBlockType != null) {
      wrong.oneOf("mid_block_type", midBlockType, MID);
    }
    wrong.oneOf("resnet_time_scale_shift", resnetTimeScaleShift, List.of("default", "scale_shift"));
    wrong.positive("in_channels", inChannels);
    wrong.positive("out_channels", outChannels);
    wrong.positive("norm_num_groups", normNumGroups);
    wrong.unless(
        layersPerBlock.fits(levels) && layersPerBlock.values().stream().allMatch(n -> n > 0),
        "layers_per_block must be positive, one or one per level; got " + layersPerBlock.toJson());
    wrong.unless(
        convInKernel > 0 && convInKernel % 2 == 1 && convOutKernel > 0 && convOutKernel % 2 == 1,
        "conv_in_kernel and conv_out_kernel must be odd; got "
            + convInKernel
            + " and "
            + convOutKernel);
    wrong.unless(
        downsamplePadding == 0 || downsamplePadding == 1,
        "downsample_padding must be 0 or 1; got " + downsamplePadding);
    wrong.unless(normEps > 0, "norm_eps must be positive; got " + normEps);
    wrong.unless(
        midBlockScaleFactor > 0,
        "mid_block_scale_factor must be positive; got " + midBlockScaleFactor);
    wrong.unless(dropout >= 0 && dropout < 1, "dropout must be in [0, 1); got " + dropout);
    for (int c : blockOutChannels) {
      wrong.unless(
          c > 0 && normNumGroups > 0 && c % normNumGroups == 0,
          "block_out_channels " + c + " must be divisible by norm_num_groups " + normNumGroups);
    }
    wrong.activation("act_fn", actFn);
    if (perLevel && layersPerBlock.fits(levels)) {
      transformers.check(
          wrong, downBlockTypes, midBlockType, upBlockTypes, blockOutChannels, layersPerBlock);
    }
    time.check(wrong);
    conditioning.check(wrong, transformers.crossAttentionDim().single());
    wrong.throwIfAny(CLASS + " config");
  }

  /** diffusers' defaults, which are the shapes of Stable Diffusion 1 with a wider context. */
  public static UNet2DConditionConfig defaults() {
    return of(Map.of());
  }

  /**
   * The configuration with some values that differ from diffusers' defaults.
   *
   * @param values by diffusers' keys: numbers, strings, truth values, lists of them, or null
   * @throws IllegalArgumentException listing everything wrong
   */
  public static UNet2DConditionConfig of(Map<String, ?> values) {
    JsonNode json = new ObjectMapper().valueToTree(values);
    return fromJson(json, "values");
  }

  /**
   * Reads diffusers' {@code config.json}. Missing keys take the defaults, keys that start with an
   * underscore are ignored, unknown keys are refused.
   *
   * @throws IllegalArgumentException if the file is not valid, listing everything wrong
   */
  public static UNet2DConditionConfig read(Path file) {
    return fromJson(ModelConfig.read(file, CLASS), file.toString());
  }

  /** The configuration of a JSON object; see {@link #read}. */
  public static UNet2DConditionConfig fromJson(JsonNode json, String where) {
    var r = new ModelConfig.Reader(json, where);
    refuse(r);
    OneOrEach<Integer> noSize = OneOrEach.one(0);
    UNetTransformers transformers = UNetTransformers.read(r);
    UNetTime time = UNetTime.read(r);
    UNetConditioning conditioning = UNetConditioning.read(r);
    OneOrEach<Integer> size = r.has("sample_size") ? r.integerOrEach("sample_size", noSize) : null;
    int in = r.integer("in_channels", 4);
    int out = r.integer("out_channels", 4);
    boolean center = r.bool("center_input_sample", false);
    int kernelIn = r.integer("conv_in_kernel", 3);
    int kernelOut = r.integer("conv_out_kernel", 3);
    String act = r.text("act_fn", "silu");
    double dropout = r.number("dropout", 0);
    int groups = r.integer("norm_num_groups", 32);
    double eps = r.number("norm_eps", 1e-5);
    List<String> down =
        r.texts(
            "down_block_types",
            List.of(
                "CrossAttnDownBlock2D",
                "CrossAttnDownBlock2D",
                "CrossAttnDownBlock2D",
                "DownBlock2D"));
    String mid = r.textOrNull("mid_block_type", "UNetMidBlock2DCrossAttn");
    List<String> up =
        r.texts(
            "up_block_types",
            List.of("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"));
    List<Integer> channels = r.integers("block_out_channels", List.of(320, 640, 1280, 1280));
    OneOrEach<Integer> layers = r.integerOrEach("layers_per_block", OneOrEach.one(2));
    int padding = r.integer("downsample_padding", 1);
    double midScale = r.number("mid_block_scale_factor", 1);
    String shift = r.text("resnet_time_scale_shift", "default");
    return r.build(
        () ->
            new UNet2DConditionConfig(
                size,
                in,
                out,
                center,
                kernelIn,
                kernelOut,
                act,
                dropout,
                groups,
                eps,
                down,
                mid,
                up,
                channels,
                layers,
                padding,
                midScale,
                shift,
                transformers,
                time,
                conditioning));
  }

  /** Keys of diffusers whose other values are not supported. */
  private static void refuse(ModelConfig.Reader r) {
    if (r.has("num_attention_heads")) {
      r.problem(
          "num_attention_heads must be null, as in diffusers: attention_head_dim holds the number"
              + " of heads");
    }
    if (!r.text("attention_type", "default").equals("default")) {
      r.problem("attention_type must be default: GLIGEN is not supported");
    }
    if (r.bool("dual_cross_attention", false)) {
      r.problem("dual_cross_attention must be false: pairs of transformers are not supported");
    }
    if (r.has("cross_attention_norm")) {
      r.problem(
          "cross_attention_norm must be null: it is for SimpleCrossAttn blocks, which are not"
              + " supported");
    }
    if (r.bool("resnet_skip_time_act", false)) {
      r.problem("resnet_skip_time_act must be false: it is not supported");
    }
    if (r.number("resnet_out_scale_factor", 1) != 1) {
      r.problem("resnet_out_scale_factor must be 1: other values are not supported");
    }
  }

  /** All keys as diffusers writes them into {@code config.json}. */
  public Map<String, @Nullable Object> toMap() {
    var m = ModelConfig.start(CLASS);
    m.put("act_fn", actFn);
    m.put("attention_type", "default");
    m.put("block_out_channels", blockOutChannels);
    m.put("center_input_sample", centerInputSample);
    m.put("conv_in_kernel", convInKernel);
    m.put("conv_out_kernel", convOutKernel);
    m.put("cross_attention_norm", null);
    m.put("down_block_types", downBlockTypes);
    m.put("downsample_padding", downsamplePadding);
    m.put("dropout", dropout);
    m.put("dual_cross_attention", false);
    m.put("in_channels", inChannels);
    m.put("layers_per_block", layersPerBlock.toJson());
    m.put("mid_block_scale_factor", ModelConfig.wholeIfPossible(midBlockScaleFactor));
    m.put("mid_block_type", midBlockType);
    m.put("norm_eps", normEps);
    m.put("norm_num_groups", normNumGroups);
    m.put("num_attention_heads", null);
    m.put("out_channels", outChannels);
    m.put("resnet_out_scale_factor", 1.0);
    m.put("resnet_skip_time_act", false);
    m.put("resnet_time_scale_shift", resnetTimeScaleShift);
    m.put("sample_size", sampleSize == null ? null : sampleSize.toJson());
    m.put("up_block_types", upBlockTypes);
    transformers.write(m);
    time.write(m);
    conditioning.write(m);
    return m;
  }

  /** Collects what is wrong with a configuration. */
  static final class Problems {
    private final List<String> wrong = new ArrayList<>();

    void unless(boolean ok, String message) {
      if (!ok && !wrong.contains(message)) {
        wrong.add(message);
      }
    }

    void oneOf(String key, String value, List<String> known) {
      unless(known.contains(value), key + " must be of " + known + "; got " + value);
    }

    void positive(String key, @Nullable Integer value) {
      unless(value == null || value > 0, key + " must be positive; got " + value);
    }

    boolean perLevel(String key, OneOrEach<?> values, int levels) {
      unless(
          values.fits(levels),
          key + " must be one value or one per level (" + levels + "); got " + values.toJson());
      return values.fits(levels);
    }

    void activation(String key, @Nullable String name) {
      if (name != null) {
        try {
          Activation.parse(name);
        } catch (IllegalArgumentException e) {
          unless(false, key + ": " + e.getMessage());
        }
      }
    }

    void throwIfAny(String what) {
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException(what + ": " + String.join("; ", wrong));
      }
    }
  }
}
