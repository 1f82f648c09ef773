// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.gan;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ConfigCheck;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link Gan}.
 *
 * @param architecture {@code dcgan} (Radford et al. 2016) or {@code mlp}
 * @param imageChannels channels of the pictures
 * @param height of the pictures, in pixels
 * @param width of the pictures, in pixels
 * @param latentDim dimensions of the noise
 * @param generatorSizes channels of the generator's levels, smallest picture first, each of which
 *     doubles the picture; or widths of the layers of an MLP
 * @param discriminatorSizes channels of the discriminator's levels, largest picture first, each of
 *     which halves the picture; or widths of the layers of an MLP
 * @param generatorNorm {@code batch}, {@code group} or {@code none}, before every activation
 * @param discriminatorNorm the same, but not in the first layer
 * @param normNumGroups groups of group normalisations
 * @param spectralNorm whether the discriminator's weights are divided by their spectral norms
 * @param numClasses the number of classes of a class-conditional model, or null
 * @param classEmbedDim width of the generator's table of classes, whose row stands beside the noise
 * @param conditioning of the discriminator: {@code projection} (Miyato and Koyama 2018) or {@code
 *     embedding} (a further channel, or further inputs, that depend on the class)
 */
public record GanConfig(
    String architecture,
    int imageChannels,
    int height,
    int width,
    int latentDim,
    List<Integer> generatorSizes,
    List<Integer> discriminatorSizes,
    String generatorNorm,
    String discriminatorNorm,
    int normNumGroups,
    boolean spectralNorm,
    @Nullable Integer numClasses,
    int classEmbedDim,
    String conditioning) {
  static final String CLASS_NAME = "Gan";

  /** Checks the values together; the message lists everything wrong. */
  public GanConfig {
    generatorSizes = List.copyOf(generatorSizes);
    discriminatorSizes = List.copyOf(discriminatorSizes);
    ConfigCheck wrong = new ConfigCheck("Gan config");
    wrong.oneOf("architecture", architecture, "dcgan", "mlp");
    wrong.oneOf("generator_norm", generatorNorm, "batch", "group", "none");
    wrong.oneOf("discriminator_norm", discriminatorNorm, "batch", "group", "none");
    wrong.oneOf("conditioning", conditioning, "projection", "embedding");
    wrong.positive("image_channels", imageChannels);
    wrong.positive("height", height);
    wrong.positive("width", width);
    wrong.positive("latent_dim", latentDim);
    wrong.positive("norm_num_groups", normNumGroups);
    wrong.positive("class_embed_dim", classEmbedDim);
    if (numClasses != null) {
      wrong.positive("num_classes", numClasses);
    }
    sizes(wrong, "generator_sizes", generatorSizes, generatorNorm, normNumGroups);
    sizes(wrong, "discriminator_sizes", discriminatorSizes, discriminatorNorm, normNumGroups);
    int levels = Math.max(generatorSizes.size(), discriminatorSizes.size());
    int factor = 1 << Math.min(20, levels);
    if (architecture.equals("dcgan") && (height % factor != 0 || width % factor != 0)) {
      wrong.add(
          "height and width must be divisible by 2^levels = "
              + factor
              + " (sizes have one entry per level); got "
              + height
              + " and "
              + width);
    }
    wrong.done();
  }

  private static void sizes(
      ConfigCheck wrong, String key, List<Integer> sizes, String norm, int groups) {
    if (sizes.isEmpty()) {
      wrong.add(key + " must not be empty");
    }
    for (int n : sizes) {
      wrong.positive(key, n);
      if (norm.equals("group") && groups > 0 && n % groups != 0) {
        wrong.add(key + " must be divisible by norm_num_groups = " + groups + "; got " + n);
      }
    }
  }

  /** Whether the networks are convolutional. */
  public boolean isConvolutional() {
    return architecture.equals("dcgan");
  }

  /** Whether the discriminator gets the class by projection. */
  boolean projects() {
    return numClasses != null && conditioning.equals("projection");
  }

  /** Values per picture. */
  public int pixels() {
    return imageChannels * height * width;
  }

  /** A configuration to be refined. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Reads a {@code config.json}; missing keys take the builder's defaults.
   *
   * @throws IllegalArgumentException if the file is not valid, listing everything wrong
   */
  public static GanConfig read(Path file) {
    JsonNode json = ModelConfig.read(file, CLASS_NAME);
    var r = new ModelConfig.Reader(json, file.toString());
    GanConfig d = builder().build();
    GanConfig config =
        new GanConfig(
            r.text("architecture", d.architecture),
            r.integer("image_channels", d.imageChannels),
            r.integer("height", d.height),
            r.integer("width", d.width),
            r.integer("latent_dim", d.latentDim),
            r.integers("generator_sizes", d.generatorSizes),
            r.integers("discriminator_sizes", d.discriminatorSizes),
            r.text("generator_norm", d.generatorNorm),
            r.text("discriminator_norm", d.discriminatorNorm),
            r.integer("norm_num_groups", d.normNumGroups),
            r.bool("spectral_norm", d.spectralNorm),
            r.integerOrNull("num_classes", d.numClasses),
            r.integer("class_embed_dim", d.classEmbedDim),
            r.text("conditioning", d.conditioning));
    r.finish();
    return config;
  }

  /** All keys as written to {@code config.json}. */
  public Map<String, @Nullable Object> toMap() {
    var m = ModelConfig.start(CLASS_NAME);
    m.remove("_diffusers_version");
    m.put("architecture", architecture);
    m.put("image_channels", imageChannels);
    m.put("height", height);
    m.put("width", width);
    m.put("latent_dim", latentDim);
    m.put("generator_sizes", generatorSizes);
    m.put("discriminator_sizes", discriminatorSizes);
    m.put("generator_norm", generatorNorm);
    m.put("discriminator_norm", discriminatorNorm);
    m.put("norm_num_groups", normNumGroups);
    m.put("spectral_norm", spectralNorm);
    m.put("num_classes", numClasses);
    m.put("class_embed_dim", classEmbedDim);
    m.put("conditioning", conditioning);
    return m;
  }

  /** Collects values that differ from the defaults: a small DCGAN of digits. */
  public static final class Builder {
    private String architecture = "dcgan";
    private int imageChannels = 1;
    private int height = 28;
    private int width = 28;
    private int latentDim = 64;
    private List<Integer> generatorSizes = List.of(128, 64);
    private List<Integer> discriminatorSizes = List.of(64, 128);
    private String generatorNorm = "batch";
    private String discriminatorNorm = "none";
    private int normNumGroups = 8;
    private boolean spectralNorm;
    private @Nullable Integer numClasses;
    private int classEmbedDim = 32;
    private String conditioning = "projection";

    private Builder() {}

    /** Fully connected networks. */
    public Builder mlp(List<Integer> generator, List<Integer> discriminator) {
      architecture = "mlp";
      return sizes(generator, discriminator);
    }

    /** Convolutional networks. */
    public Builder dcgan(List<Integer> generator, List<Integer> discriminator) {
      architecture = "dcgan";
      return sizes(generator, discriminator);
    }

    private Builder sizes(List<Integer> generator, List<Integer> discriminator) {
      generatorSizes = List.copyOf(generator);
      discriminatorSizes = List.copyOf(discriminator);
      return this;
    }

    /** The pictures. */
    public Builder image(int channels, int pixelsHigh, int pixelsWide) {
      imageChannels = channels;
      height = pixelsHigh;
      width = pixelsWide;
      return this;
    }

    /** Dimensions of the noise. */
    public Builder latentDim(int n) {
      latentDim = n;
      return this;
    }

    /**
     * Normalisations of generator and discriminator: {@code batch}, {@code group}, {@code none}.
     */
    public Builder norms(String generator, String discriminator) {
      generatorNorm = generator;
      discriminatorNorm = discriminator;
      return this;
    }

    /** Groups of group normalisations. */
    public Builder normNumGroups(int n) {
      normNumGroups = n;
      return this;
    }

    /** Whether the discriminator's weights are divided by their spectral norms. */
    public Builder spectralNorm(boolean on) {
      spectralNorm = on;
      return this;
    }

    /** A class-conditional model of {@code n} classes; of none if null. */
    public Builder numClasses(@Nullable Integer n) {
      numClasses = n;
      return this;
    }

    /** Width of the generator's table of classes. */
    public Builder classEmbedDim(int n) {
      classEmbedDim = n;
      return this;
    }

    /** {@code projection} or {@code embedding}. */
    public Builder conditioning(String kind) {
      conditioning = kind;
      return this;
    }

    /** The configuration. */
    public GanConfig build() {
      return new GanConfig(
          architecture,
          imageChannels,
          height,
          width,
          latentDim,
          generatorSizes,
          discriminatorSizes,
          generatorNorm,
          discriminatorNorm,
          normNumGroups,
          spectralNorm,
          numClasses,
          classEmbedDim,
          conditioning);
    }
  }
}
