// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ConfigCheck;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link VqVae}. {@link #of} has the numbers of the paper's implementation in
 * Sonnet.
 *
 * @param channels of the pictures
 * @param hidden channels of the features
 * @param residualHidden channels inside a residual block
 * @param residualLayers residual blocks of the encoder, and of the decoder
 * @param halvings how often encoder halves height and width
 * @param codes K, the number of codes
 * @param codeWidth D, the length of a code
 * @param commitment β, weight of the term that draws the encoder to its codes
 * @param decay of the moving averages that make the codebook, or null for a codebook trained by the
 *     loss
 * @param epsilon of the Laplace smoothing of the averaged counts
 * @param revival codes that stand for fewer vectors per batch, on average, are set to vectors of
 *     the batch; 0 for never; needs {@code decay}
 */
public record VqVaeConfig(
    int channels,
    int hidden,
    int residualHidden,
    int residualLayers,
    int halvings,
    int codes,
    int codeWidth,
    double commitment,
    @Nullable Double decay,
    double epsilon,
    double revival) {
  private static final String CLASS_NAME = "VqVae";

  /** Checks the values together; the message lists everything wrong. */
  public VqVaeConfig {
    ConfigCheck wrong = new ConfigCheck(CLASS_NAME);
    wrong.require(channels > 0, "channels must be positive; got " + channels);
    wrong.require(
        hidden > 0 && hidden % 2 == 0,
        "hidden must be positive and even, as the outer layers have half of it; got " + hidden);
    wrong.require(residualHidden > 0, "residual_hidden must be positive; got " + residualHidden);
    wrong.require(
        residualLayers >= 0, "residual_layers must not be negative; got " + residualLayers);
    wrong.require(halvings > 0 && halvings <= 6, "halvings must be 1 to 6; got " + halvings);
    wrong.require(codes > 0, "codes must be positive; got " + codes);
    wrong.require(codeWidth > 0, "code_width must be positive; got " + codeWidth);
    wrong.require(commitment >= 0, "commitment must not be negative; got " + commitment);
    wrong.require(
        decay == null || (decay >= 0 && decay < 1),
        "decay must be null or in [0, 1); got " + decay);
    wrong.require(epsilon > 0, "epsilon must be positive; got " + epsilon);
    wrong.require(revival >= 0, "revival must not be negative; got " + revival);
    wrong.require(
        decay != null || revival == 0,
        "revival needs averages of the codes' use: set decay, or revival to 0; got " + revival);
    wrong.done();
  }

  /**
   * Sonnet's numbers: 128 channels, two residual blocks of 32, two halvings, 512 codes of 64, β =
   * 0.25, averages of decay 0.99 smoothed by 1e-5; and codes come back that stand for less than one
   * vector per batch.
   */
  public static VqVaeConfig of(int channels) {
    return new VqVaeConfig(channels, 128, 32, 2, 2, 512, 64, 0.25, 0.99, 1e-5, 1);
  }

  /** With other channels of features and of residual blocks. */
  public VqVaeConfig widths(int features, int residual) {
    return new VqVaeConfig(
        channels,
        features,
        residual,
        residualLayers,
        halvings,
        codes,
        codeWidth,
        commitment,
        decay,
        epsilon,
        revival);
  }

  /** With another codebook. */
  public VqVaeConfig codebook(int count, int width) {
    return new VqVaeConfig(
        channels,
        hidden,
        residualHidden,
        residualLayers,
        halvings,
        count,
        width,
        commitment,
        decay,
        epsilon,
        revival);
  }

  /** With a codebook that is trained by the loss. */
  public VqVaeConfig trainedCodebook() {
    return new VqVaeConfig(
        channels,
        hidden,
        residualHidden,
        residualLayers,
        halvings,
        codes,
        codeWidth,
        commitment,
        null,
        epsilon,
        0);
  }

  /** Height and width of pictures are multiples of this; a map of codes is smaller by it. */
  public int factor() {
    return 1 << halvings;
  }

  /**
   * Reads {@code config.json}.
   *
   * @throws IllegalArgumentException listing everything wrong
   */
  public static VqVaeConfig read(Path file) {
    JsonNode json = ModelConfig.read(file, CLASS_NAME);
    ModelConfig.Reader reader = new ModelConfig.Reader(json, file.toString());
    VqVaeConfig base = of(1);
    int channels = reader.integer("channels", base.channels);
    int hidden = reader.integer("hidden", base.hidden);
    int residualHidden = reader.integer("residual_hidden", base.residualHidden);
    int residualLayers = reader.integer("residual_layers", base.residualLayers);
    int halvings = reader.integer("halvings", base.halvings);
    int codes = reader.integer("codes", base.codes);
    int codeWidth = reader.integer("code_width", base.codeWidth);
    double commitment = reader.number("commitment", base.commitment);
    Double decay = reader.numberOrNull("decay", base.decay);
    double epsilon = reader.number("epsilon", base.epsilon);
    double revival = reader.number("revival", base.revival);
    reader.finish();
    return new VqVaeConfig(
        channels,
        hidden,
        residualHidden,
        residualLayers,
        halvings,
        codes,
        codeWidth,
        commitment,
        decay,
        epsilon,
        revival);
  }

  /** The configuration as {@code config.json} holds it. */
  public Map<String, @Nullable Object> toMap() {
    Map<String, @Nullable Object> map = ModelConfig.start(CLASS_NAME);
    map.put("channels", channels);
    map.put("hidden", hidden);
    map.put("residual_hidden", residualHidden);
    map.put("residual_layers", residualLayers);
    map.put("halvings", halvings);
    map.put("codes", codes);
    map.put("code_width", codeWidth);
    map.put("commitment", commitment);
    map.put("decay", decay);
    map.put("epsilon", epsilon);
    map.put("revival", revival);
    return map;
  }
}
