// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ConfigCheck;
import io.sfumato.models.nn.FeedForward;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of a {@link Dit}: key for key that of diffusers' DiTTransformer2DModel, and
 * what that class has no keys for. Defaults are diffusers'.
 *
 * @param numAttentionHeads heads per block
 * @param attentionHeadDim width of one head; the model's width is the product of both
 * @param inChannels channels of the input
 * @param outChannels channels of the output, twice those of the input if the variance is learned;
 *     null for as many as the input has
 * @param numLayers number of blocks
 * @param dropout probability of dropout after attention and inside the MLPs while training
 * @param normNumGroups a key of diffusers without effect, there and here
 * @param attentionBias whether queries, keys and values have biases
 * @param sampleSize side of the (latent) pictures the model was made for
 * @param patchSize side of the patches that become tokens
 * @param activationFn what is inside the MLPs, see {@link FeedForward.Kind}
 * @param numEmbedsAdaNorm number of classes; the table has one row more, which stands for "no
 *     class". Null for a model without classes (original layout only)
 * @param upcastAttention a key of diffusers; scores are f32 here in any case
 * @param normType always {@code ada_norm_zero}, as in diffusers
 * @param normElementwiseAffine whether the normalisation before the MLP has weights (diffusers
 *     layout only)
 * @param normEps epsilon of the normalisation before the MLP; the others have 1e-6
 * @param layout names of parameters and place of the embedders
 * @param conditioning how timestep and class reach the blocks; others than {@link
 *     Conditioning#ADALN_ZERO} exist in the original layout only
 * @param positions {@code sincos}, a fixed table added to the tokens; in the original layout also
 *     {@code learned}, a table that is trained, and {@code rotary}, which turns queries and keys by
 *     row and column
 * @param freqShift frequency shift of the time features: 1 in diffusers, 0 in the original
 */
public record DitConfig(
    int numAttentionHeads,
    int attentionHeadDim,
    int inChannels,
    @Nullable Integer outChannels,
    int numLayers,
    double dropout,
    int normNumGroups,
    boolean attentionBias,
    int sampleSize,
    int patchSize,
    String activationFn,
    @Nullable Integer numEmbedsAdaNorm,
    boolean upcastAttention,
    String normType,
    boolean normElementwiseAffine,
    double normEps,
    DitLayout layout,
    Conditioning conditioning,
    String positions,
    double freqShift) {
  private static final String DIFFUSERS_CLASS = "DiTTransformer2DModel";
  private static final String OWN_CLASS = "DiT";
  private static final List<String> POSITIONS = List.of("sincos", "learned", "rotary");
  private static final Pattern NAME = Pattern.compile("DiT-(S|B|L|XL)/(2|4|8)");

  /** Checks the values together; the message lists everything wrong. */
  public DitConfig {
    ConfigCheck wrong = new ConfigCheck("DiT config");
    boolean diffusers = layout == DitLayout.DIFFUSERS;
    wrong.positive("num_attention_heads", numAttentionHeads);
    wrong.positive("attention_head_dim", attentionHeadDim);
    wrong.positive("in_channels", inChannels);
    wrong.positive("out_channels", outChannels == null ? 1 : outChannels);
    wrong.positive("num_layers", numLayers);
    wrong.positive("sample_size", sampleSize);
    wrong.positive("patch_size", patchSize);
    wrong.positive("num_embeds_ada_norm", numEmbedsAdaNorm == null ? 1 : numEmbedsAdaNorm);
    wrong.require(
        patchSize < 1 || sampleSize % patchSize == 0,
        "sample_size " + sampleSize + " must be divisible by patch_size " + patchSize);
    long width = (long) numAttentionHeads * attentionHeadDim;
    wrong.require(width <= 1 << 20, "the width, heads times head width, is too large: " + width);
    wrong.require(
        width % 4 == 0 || !positions.equals("sincos"),
        "the width must be divisible by 4 for positions sincos; got " + width);
    wrong.require(
        attentionHeadDim % 4 == 0 || !positions.equals("rotary"),
        "attention_head_dim must be divisible by 4 for positions rotary; got " + attentionHeadDim);
    wrong.require(dropout >= 0 && dropout < 1, "dropout must be in [0, 1); got " + dropout);
    wrong.require(normEps > 0, "norm_eps must be positive; got " + normEps);
    wrong.require(
        Double.isFinite(freqShift) && freqShift < 128,
        "freq_shift must be below 128; got " + freqShift);
    wrong.require(
        normType.equals("ada_norm_zero"),
        "norm_type must be ada_norm_zero; got '" + normType + "'");
    wrong.require(
        POSITIONS.contains(positions),
        "positions must be one of " + POSITIONS + "; got '" + positions + "'");
    try {
      FeedForward.Kind.parse(activationFn);
    } catch (IllegalArgumentException e) {
      wrong.add(String.valueOf(e.getMessage()));
    }
    wrong.require(
        !diffusers || numEmbedsAdaNorm != null,
        "num_embeds_ada_norm must not be null in the diffusers layout");
    wrong.require(
        !diffusers || conditioning == Conditioning.ADALN_ZERO,
        "conditioning " + conditioning.configName() + " needs the original layout");
    wrong.require(
        !diffusers || positions.equals("sincos"),
        "positions " + positions + " need the original layout");
    wrong.require(
        diffusers || !normElementwiseAffine,
        "norm_elementwise_affine must be false in the original layout");
    wrong.require(
        diffusers || activationFn.equals("gelu-approximate"),
        "activation_fn must be gelu-approximate in the original layout; got '"
            + activationFn
            + "'");
    wrong.done();
  }

  /** D, the width of the tokens. */
  public int width() {
    return numAttentionHeads * attentionHeadDim;
  }

  /** Channels of the output. */
  public int outputs() {
    return outChannels == null ? inChannels : outChannels;
  }

  /** A configuration to be refined: diffusers' defaults. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * A size of the paper by its name: S, B, L or XL with patches of 2, 4 or 8, {@code DiT-XL/2}. The
   * others are the paper's too: latents 4x32x32, 1000 classes, a learned variance, the original
   * layout. Refine it with {@link #toBuilder}.
   *
   * @throws IllegalArgumentException if there is no such size
   */
  public static DitConfig named(String name) {
    Matcher m = NAME.matcher(name);
    if (!m.matches()) {
      throw new IllegalArgumentException(
          "a DiT is named DiT-S/2, with S, B, L or XL and 2, 4 or 8; got '" + name + "'");
    }
    Builder builder = builder().layout(DitLayout.ORIGINAL).outChannels(8);
    switch (m.group(1)) {
      case "S" -> builder.size(12, 6, 64);
      case "B" -> builder.size(12, 12, 64);
      case "L" -> builder.size(24, 16, 64);
      default -> builder.size(28, 16, 72);
    }
    return builder.patchSize(Integer.parseInt(m.group(2))).build();
  }

  /**
   * Reads {@code config.json} of a DiTTransformer2DModel of diffusers, or of what {@link Dit#save}
   * writes for models that diffusers has no class for. Missing keys take the defaults, keys that
   * start with an underscore are ignored, unknown keys are logged.
   *
   * @throws IllegalArgumentException if the file is not valid, listing everything wrong
   */
  public static DitConfig read(Path file) {
    return fromJson(ModelConfig.read(file), file.toString());
  }

  /** The configuration of a JSON object; see {@link #read}. */
  public static DitConfig fromJson(JsonNode json, String where) {
    String name = json.path("_class_name").asText(DIFFUSERS_CLASS);
    if (!name.equals(DIFFUSERS_CLASS) && !name.equals(OWN_CLASS)) {
      throw new IllegalArgumentException(
          where + ": is the configuration of a " + name + ", not of a " + DIFFUSERS_CLASS);
    }
    var r = new ModelConfig.Reader(json, where);
    DitLayout layout;
    Conditioning conditioning;
    try {
      layout = DitLayout.parse(r.text("layout", name.equals(OWN_CLASS) ? "original" : "diffusers"));
      conditioning = Conditioning.parse(r.text("conditioning", "adaln_zero"));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(where + ": " + e.getMessage(), e);
    }
    DitConfig d = builder().layout(layout).build();
    DitConfig config =
        new DitConfig(
            r.integer("num_attention_heads", d.numAttentionHeads),
            r.integer("attention_head_dim", d.attentionHeadDim),
            r.integer("in_channels", d.inChannels),
            r.integerOrNull("out_channels", d.outChannels),
            r.integer("num_layers", d.numLayers),
            r.number("dropout", d.dropout),
            r.integer("norm_num_groups", d.normNumGroups),
            r.bool("attention_bias", d.attentionBias),
            r.integer("sample_size", d.sampleSize),
            r.integer("patch_size", d.patchSize),
            r.text("activation_fn", d.activationFn),
            r.integerOrNull("num_embeds_ada_norm", d.numEmbedsAdaNorm),
            r.bool("upcast_attention", d.upcastAttention),
            r.text("norm_type", d.normType),
            r.bool("norm_elementwise_affine", d.normElementwiseAffine),
            r.number("norm_eps", d.normEps),
            layout,
            conditioning,
            r.text("positions", d.positions),
            r.number("freq_shift", d.freqShift));
    r.finish();
    return config;
  }

  /** All keys as diffusers writes them, and those it has not where they matter. */
  public Map<String, @Nullable Object> toMap() {
    boolean original = layout == DitLayout.ORIGINAL;
    var m = ModelConfig.start(original ? OWN_CLASS : DIFFUSERS_CLASS);
    m.put("activation_fn", activationFn);
    m.put("attention_bias", attentionBias);
    m.put("attention_head_dim", attentionHeadDim);
    m.put("dropout", dropout);
    m.put("in_channels", inChannels);
    m.put("norm_elementwise_affine", normElementwiseAffine);
    m.put("norm_eps", normEps);
    m.put("norm_num_groups", normNumGroups);
    m.put("norm_type", normType);
    m.put("num_attention_heads", numAttentionHeads);
    m.put("num_embeds_ada_norm", numEmbedsAdaNorm);
    m.put("num_layers", numLayers);
    m.put("out_channels", outChannels);
    m.put("patch_size", patchSize);
    m.put("sample_size", sampleSize);
    m.put("upcast_attention", upcastAttention);
    if (original) {
      m.put("layout", layout.configName());
      m.put("conditioning", conditioning.configName());
      m.put("positions", positions);
    }
    if (freqShift != layout.freqShift()) {
      m.put("freq_shift", ModelConfig.wholeIfPossible(freqShift));
    }
    return m;
  }

  /** A builder that starts with these values. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** Collects values that differ from diffusers' defaults. */
  public static final class Builder {
    private int heads = 16;
    private int headDim = 72;
    private int inChannels = 4;
    private @Nullable Integer outChannels;
    private int layers = 28;
    private double dropout;
    private int normNumGroups = 32;
    private boolean attentionBias = true;
    private int sampleSize = 32;
    private int patchSize = 2;
    private String activationFn = "gelu-approximate";
    private @Nullable Integer classes = 1000;
    private boolean upcastAttention;
    private boolean affine;
    private double normEps = DitLayout.DIFFUSERS.normEps();
    private DitLayout layout = DitLayout.DIFFUSERS;
    private Conditioning conditioning = Conditioning.ADALN_ZERO;
    private String positions = "sincos";
    private double freqShift = DitLayout.DIFFUSERS.freqShift();

    private Builder() {}

    private Builder(DitConfig c) {
      heads = c.numAttentionHeads;
      headDim = c.attentionHeadDim;
      inChannels = c.inChannels;
      outChannels = c.outChannels;
      layers = c.numLayers;
      dropout = c.dropout;
      normNumGroups = c.normNumGroups;
      attentionBias = c.attentionBias;
      sampleSize = c.sampleSize;
      patchSize = c.patchSize;
      activationFn = c.activationFn;
      classes = c.numEmbedsAdaNorm;
      upcastAttention = c.upcastAttention;
      affine = c.normElementwiseAffine;
      normEps = c.normEps;
      layout = c.layout;
      conditioning = c.conditioning;
      positions = c.positions;
      freqShift = c.freqShift;
    }

    /**
     * Depth and width.
     *
     * @param blocks number of blocks
     * @param numHeads attention heads per block
     * @param headWidth width of one head
     */
    public Builder size(int blocks, int numHeads, int headWidth) {
      layers = blocks;
      heads = numHeads;
      headDim = headWidth;
      return this;
    }

    /** Side of the pictures. */
    public Builder sampleSize(int side) {
      sampleSize = side;
      return this;
    }

    /** Side of the patches. */
    public Builder patchSize(int side) {
      patchSize = side;
      return this;
    }

    /** Channels of input and output. */
    public Builder imageChannels(int n) {
      inChannels = n;
      outChannels = n;
      return this;
    }

    /** Channels of the output alone: twice the input's for a learned variance. */
    public Builder outChannels(int n) {
      outChannels = n;
      return this;
    }

    /** Number of classes; null for none. */
    public Builder classes(@Nullable Integer n) {
      classes = n;
      return this;
    }

    /** Probability of dropout. */
    public Builder dropout(double p) {
      dropout = p;
      return this;
    }

    /** The function inside the MLPs. */
    public Builder activationFn(String name) {
      activationFn = name;
      return this;
    }

    /** Whether the normalisation before the MLP has weights. */
    public Builder normElementwiseAffine(boolean value) {
      affine = value;
      return this;
    }

    /** Whether queries, keys and values have biases. */
    public Builder attentionBias(boolean value) {
      attentionBias = value;
      return this;
    }

    /** The layout, with the frequency shift and epsilon of its origin. */
    public Builder layout(DitLayout value) {
      layout = value;
      freqShift = value.freqShift();
      normEps = value.normEps();
      return this;
    }

    /** The layout alone: a converted model keeps the numerics of its origin. */
    public Builder namesOf(DitLayout value) {
      layout = value;
      return this;
    }

    /** How timestep and class reach the blocks. */
    public Builder conditioning(Conditioning way) {
      conditioning = way;
      return this;
    }

    /** {@code sincos}, {@code learned} or {@code rotary}. */
    public Builder positions(String kind) {
      positions = kind;
      return this;
    }

    /** Frequency shift of the time features. */
    public Builder freqShift(double shift) {
      freqShift = shift;
      return this;
    }

    /** Epsilon of the normalisation before the MLP. */
    public Builder normEps(double eps) {
      normEps = eps;
      return this;
    }

    /** The configuration. */
    public DitConfig build() {
      return new DitConfig(
          heads,
          headDim,
          inChannels,
          outChannels,
          layers,
          dropout,
          normNumGroups,
          attentionBias,
          sampleSize,
          patchSize,
          activationFn,
          classes,
          upcastAttention,
          "ada_norm_zero",
          affine,
          normEps,
          layout,
          conditioning,
          positions,
          freqShift);
    }
  }
}
