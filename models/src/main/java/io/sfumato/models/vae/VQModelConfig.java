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
 * The configuration of {@link VQModel}, key for key that of diffusers' VQModel, with its defaults.
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
 * @param latentChannels channels of the encoder's output
 * @param sampleSize side of the pictures the model was made for
 * @param numVqEmbeddings number of codes
 * @param normNumGroups groups of the normalisations
 * @param vqEmbedDim width of a code, or null for {@code latentChannels}
 * @param scalingFactor what latents are multiplied by for diffusion
 * @param normType {@code group}, or {@code spatial} for a decoder whose normalisations the
 *     quantised latent modulates
 * @param midBlockAddAttention whether the middles have attention
 * @param lookupFromCodebook whether {@link VQModel#decodeDirectly} takes indices of codes
 * @param forceUpcast whether weights stored as F16 are computed with in F32
 */
public record VQModelConfig(
    int inChannels,
    int outChannels,
    List<String> downBlockTypes,
    List<String> upBlockTypes,
    List<Integer> blockOutChannels,
    int layersPerBlock,
    String actFn,
    int latentChannels,
    int sampleSize,
    int numVqEmbeddings,
    int normNumGroups,
    @Nullable Integer vqEmbedDim,
    double scalingFactor,
    String normType,
    boolean midBlockAddAttention,
    boolean lookupFromCodebook,
    boolean forceUpcast) {

  private static final String CLASS = "VQModel";

  /**
   * Checks the values together.
   *
   * @throws IllegalArgumentException listing everything wrong
   */
  public VQModelConfig {
    downBlockTypes = List.copyOf(downBlockTypes);
    upBlockTypes = List.copyOf(upBlockTypes);
    blockOutChannels = List.copyOf(blockOutChannels);
    boolean spatial = normType.equals("spatial");
    var rules = new AutoencoderRules(CLASS);
    rules.levels(downBlockTypes, upBlockTypes, blockOutChannels, normNumGroups, spatial);
    rules.positive("in_channels", inChannels);
    rules.positive("out_channels", outChannels);
    rules.positive("latent_channels", latentChannels);
    rules.positive("layers_per_block", layersPerBlock);
    rules.positive("sample_size", sampleSize);
    rules.positive("num_vq_embeddings", numVqEmbeddings);
    rules.positive("vq_embed_dim", vqEmbedDim == null ? 1 : vqEmbedDim);
    rules.activation(actFn);
    rules.scalingFactor(scalingFactor);
    rules.oneOf("norm_type", List.of(normType), List.of("group", "spatial"));
    rules.check(
        !spatial || vqEmbedDim == null || vqEmbedDim == latentChannels,
        "norm_type spatial needs vq_embed_dim to be null or latent_channels "
            + latentChannels
            + "; got "
            + vqEmbedDim);
    rules.done();
  }

  /** By how much the latent is smaller than the picture, per side. */
  public int factor() {
    return 1 << (blockOutChannels.size() - 1);
  }

  /** The width of a code. */
  public int codeWidth() {
    return vqEmbedDim == null ? latentChannels : vqEmbedDim;
  }

  /** Whether the quantised latent modulates the decoder's normalisations. */
  public boolean isSpatial() {
    return normType.equals("spatial");
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
  public static VQModelConfig read(Path file) {
    return fromJson(ModelConfig.read(file, CLASS), file.toString());
  }

  /** The configuration of a JSON object; see {@link #read}. */
  public static VQModelConfig fromJson(JsonNode json, String where) {
    var r = new ModelConfig.Reader(json, where);
    VQModelConfig d = builder().build();
    return r.build(
        () ->
            new VQModelConfig(
                r.integer("in_channels", d.inChannels),
                r.integer("out_channels", d.outChannels),
                r.texts("down_block_types", d.downBlockTypes),
                r.texts("up_block_types", d.upBlockTypes),
                r.integers("block_out_channels", d.blockOutChannels),
                r.integer("layers_per_block", d.layersPerBlock),
                r.text("act_fn", d.actFn),
                r.integer("latent_channels", d.latentChannels),
                r.integer("sample_size", d.sampleSize),
                r.integer("num_vq_embeddings", d.numVqEmbeddings),
                r.integer("norm_num_groups", d.normNumGroups),
                r.integerOrNull("vq_embed_dim", d.vqEmbedDim),
                r.number("scaling_factor", d.scalingFactor),
                r.text("norm_type", d.normType),
                r.bool("mid_block_add_attention", d.midBlockAddAttention),
                r.bool("lookup_from_codebook", d.lookupFromCodebook),
                r.bool("force_upcast", d.forceUpcast)));
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
    m.put("layers_per_block", layersPerBlock);
    m.put("lookup_from_codebook", lookupFromCodebook);
    m.put("mid_block_add_attention", midBlockAddAttention);
    m.put("norm_num_groups", normNumGroups);
    m.put("norm_type", normType);
    m.put("num_vq_embeddings", numVqEmbeddings);
    m.put("out_channels", outChannels);
    m.put("sample_size", sampleSize);
    m.put("scaling_factor", scalingFactor);
    m.put("up_block_types", upBlockTypes);
    m.put("vq_embed_dim", vqEmbedDim);
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
    private int latentChannels = 3;
    private int sampleSize = 32;
    private int numVqEmbeddings = 256;
    private int normNumGroups = 32;
    private @Nullable Integer vqEmbedDim;
    private double scalingFactor = 0.18215;
    private String normType = "group";
    private boolean midBlockAddAttention = true;
    private boolean lookupFromCodebook;

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

    /** Channels of the encoder's output. */
    public Builder latentChannels(int n) {
      latentChannels = n;
      return this;
    }

    /** Side of the pictures. */
    public Builder sampleSize(int size) {
      sampleSize = size;
      return this;
    }

    /**
     * The codebook.
     *
     * @param count number of codes
     * @param width width of a code, or null for the channels of the latent
     */
    public Builder codebook(int count, @Nullable Integer width) {
      numVqEmbeddings = count;
      vqEmbedDim = width;
      return this;
    }

    /** Groups of the normalisations. */
    public Builder normNumGroups(int n) {
      normNumGroups = n;
      return this;
    }

    /** What latents are multiplied by for diffusion. */
    public Builder scalingFactor(double factor) {
      scalingFactor = factor;
      return this;
    }

    /** {@code group} or {@code spatial}. */
    public Builder normType(String type) {
      normType = type;
      return this;
    }

    /** Whether the middles have attention. */
    public Builder midBlockAddAttention(boolean add) {
      midBlockAddAttention = add;
      return this;
    }

    /** Whether {@link VQModel#decodeDirectly} takes indices of codes. */
    public Builder lookupFromCodebook(boolean lookup) {
      lookupFromCodebook = lookup;
      return this;
    }

    /** The configuration. */
    public VQModelConfig build() {
      return new VQModelConfig(
          inChannels,
          outChannels,
          down,
          up,
          channels,
          layersPerBlock,
          actFn,
          latentChannels,
          sampleSize,
          numVqEmbeddings,
          normNumGroups,
          vqEmbedDim,
          scalingFactor,
          normType,
          midBlockAddAttention,
          lookupFromCodebook,
          false);
    }
  }
}
