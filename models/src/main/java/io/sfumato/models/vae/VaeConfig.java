// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.ConfigCheck;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link Vae}.
 *
 * @param architecture {@code mlp} or {@code conv}
 * @param imageChannels channels of the pictures
 * @param height of the pictures, in pixels
 * @param width of the pictures, in pixels
 * @param hiddenSizes of the encoder, the decoder has them reversed: widths of the layers of an MLP,
 *     or channels of the levels of a convolutional network, each of which halves the picture
 * @param denseSize width of the layer between the last level and the latent; convolutional only
 * @param latentDim dimensions of the latent
 * @param activation of hidden layers
 * @param likelihood {@code bernoulli} (pixels are probabilities) or {@code gaussian}
 * @param variance of a Gaussian: {@code fixed}, {@code shared} (learned, one for all pixels) or
 *     {@code predicted} (by the decoder, one per pixel)
 * @param sigma standard deviation of a Gaussian if it is fixed
 * @param minLogVariance lower bound of learned logarithms of variances, approached softly (Rybkin
 *     et al. 2021); without one, pixels that never change have an unbounded density
 * @param beta weight of the KL divergence in the loss (Higgins et al. 2017); 1 for the ELBO
 * @param numClasses the number of classes of a class-conditional model, or null
 */
public record VaeConfig(
    String architecture,
    int imageChannels,
    int height,
    int width,
    List<Integer> hiddenSizes,
    int denseSize,
    int latentDim,
    String activation,
    String likelihood,
    String variance,
    double sigma,
    double minLogVariance,
    double beta,
    @Nullable Integer numClasses) {
  static final String CLASS_NAME = "Vae";

  /** Checks the values together; the message lists everything wrong. */
  public VaeConfig {
    hiddenSizes = List.copyOf(hiddenSizes);
    ConfigCheck wrong = new ConfigCheck("Vae config");
    wrong.oneOf("architecture", architecture, "mlp", "conv");
    wrong.oneOf("likelihood", likelihood, "bernoulli", "gaussian");
    wrong.oneOf("variance", variance, "fixed", "shared", "predicted");
    wrong.positive("image_channels", imageChannels);
    wrong.positive("height", height);
    wrong.positive("width", width);
    wrong.positive("dense_size", denseSize);
    wrong.positive("latent_dim", latentDim);
    if (hiddenSizes.isEmpty()) {
      wrong.add("hidden_sizes must not be empty");
    }
    hiddenSizes.forEach(n -> wrong.positive("hidden_sizes", n));
    int factor = 1 << Math.min(20, hiddenSizes.size());
    if (architecture.equals("conv") && (height % factor != 0 || width % factor != 0)) {
      wrong.add(
          "height and width must be divisible by 2^levels = "
              + factor
              + " (hidden_sizes has one entry per level); got "
              + height
              + " and "
              + width);
    }
    try {
      Activation.parse(activation);
    } catch (IllegalArgumentException e) {
      wrong.add(String.valueOf(e.getMessage()).replace("act_fn", "activation"));
    }
    if (!(sigma > 0) || Double.isInfinite(sigma)) {
      wrong.add("sigma must be positive; got " + sigma);
    }
    if (!Double.isFinite(minLogVariance)) {
      wrong.add("min_log_variance must be finite; got " + minLogVariance);
    }
    if (!(beta >= 0) || Double.isInfinite(beta)) {
      wrong.add("beta must not be negative; got " + beta);
    }
    if (numClasses != null) {
      wrong.positive("num_classes", numClasses);
    }
    wrong.done();
  }

  /** Whether encoder and decoder are convolutional. */
  public boolean isConvolutional() {
    return architecture.equals("conv");
  }

  /** Whether pixels are probabilities. */
  public boolean isBernoulli() {
    return likelihood.equals("bernoulli");
  }

  /** Whether the decoder gives a log-variance for each pixel. */
  public boolean predictsVariance() {
    return !isBernoulli() && variance.equals("predicted");
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
  public static VaeConfig read(Path file) {
    JsonNode json = ModelConfig.read(file, CLASS_NAME);
    var r = new ModelConfig.Reader(json, file.toString());
    VaeConfig d = builder().build();
    VaeConfig config =
        new VaeConfig(
            r.text("architecture", d.architecture),
            r.integer("image_channels", d.imageChannels),
            r.integer("height", d.height),
            r.integer("width", d.width),
            r.integers("hidden_sizes", d.hiddenSizes),
            r.integer("dense_size", d.denseSize),
            r.integer("latent_dim", d.latentDim),
            r.text("activation", d.activation),
            r.text("likelihood", d.likelihood),
            r.text("variance", d.variance),
            r.number("sigma", d.sigma),
            r.number("min_log_variance", d.minLogVariance),
            r.number("beta", d.beta),
            r.integerOrNull("num_classes", d.numClasses));
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
    m.put("hidden_sizes", hiddenSizes);
    m.put("dense_size", denseSize);
    m.put("latent_dim", latentDim);
    m.put("activation", activation);
    m.put("likelihood", likelihood);
    m.put("variance", variance);
    m.put("sigma", sigma);
    m.put("min_log_variance", minLogVariance);
    m.put("beta", beta);
    m.put("num_classes", numClasses);
    return m;
  }

  /** Collects values that differ from the defaults: a small convolutional model of digits. */
  public static final class Builder {
    private String architecture = "conv";
    private int imageChannels = 1;
    private int height = 28;
    private int width = 28;
    private List<Integer> hiddenSizes = List.of(32, 64);
    private int denseSize = 256;
    private int latentDim = 16;
    private String activation = "silu";
    private String likelihood = "bernoulli";
    private String variance = "fixed";
    private double sigma = 0.1;
    private double minLogVariance = -6;
    private double beta = 1;
    private @Nullable Integer numClasses;

    private Builder() {}

    /** Fully connected layers of these widths, from the picture to the latent. */
    public Builder mlp(Integer... widths) {
      architecture = "mlp";
      hiddenSizes = List.of(widths);
      return this;
    }

    /** Convolutional levels of these channels, and a fully connected layer of {@code dense}. */
    public Builder conv(List<Integer> channels, int dense) {
      architecture = "conv";
      hiddenSizes = List.copyOf(channels);
      denseSize = dense;
      return this;
    }

    /** The pictures. */
    public Builder image(int channels, int pixelsHigh, int pixelsWide) {
      imageChannels = channels;
      height = pixelsHigh;
      width = pixelsWide;
      return this;
    }

    /** Dimensions of the latent. */
    public Builder latentDim(int n) {
      latentDim = n;
      return this;
    }

    /** The activation of hidden layers, by its name in configurations. */
    public Builder activation(String name) {
      activation = name;
      return this;
    }

    /** Pixels are probabilities. */
    public Builder bernoulli() {
      likelihood = "bernoulli";
      return this;
    }

    /** Gaussian pixels with {@code fixed}, {@code shared} or {@code predicted} variance. */
    public Builder gaussian(String kind) {
      likelihood = "gaussian";
      variance = kind;
      return this;
    }

    /** The standard deviation of a Gaussian of fixed variance. */
    public Builder sigma(double value) {
      sigma = value;
      return this;
    }

    /** The weight of the KL divergence. */
    public Builder beta(double value) {
      beta = value;
      return this;
    }

    /** A class-conditional model of {@code n} classes; of none if null. */
    public Builder numClasses(@Nullable Integer n) {
      numClasses = n;
      return this;
    }

    /** The configuration. */
    public VaeConfig build() {
      return new VaeConfig(
          architecture,
          imageChannels,
          height,
          width,
          hiddenSizes,
          denseSize,
          latentDim,
          activation,
          likelihood,
          variance,
          sigma,
          minLogVariance,
          beta,
          numClasses);
    }
  }
}
