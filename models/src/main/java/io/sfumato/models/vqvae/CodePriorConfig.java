// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ConfigCheck;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link CodePrior}.
 *
 * @param codes K, the number of codes
 * @param height of a map of codes
 * @param width of a map of codes
 * @param classes the number of classes; 0 for none
 * @param hidden width of the Transformer
 * @param layers number of blocks
 * @param heads of attention; a divisor of {@code hidden}
 * @param positions {@code learned}, or {@code sinusoidal} as in Vaswani et al. 2017
 * @param dropout probability of dropout while training, after the embedding and in each block
 */
public record CodePriorConfig(
    int codes,
    int height,
    int width,
    int classes,
    int hidden,
    int layers,
    int heads,
    String positions,
    double dropout) {
  private static final String CLASS_NAME = "CodePrior";

  /** Checks the values together; the message lists everything wrong. */
  public CodePriorConfig {
    ConfigCheck wrong = new ConfigCheck(CLASS_NAME);
    wrong.require(codes > 0, "codes must be positive; got " + codes);
    wrong.require(
        height > 0 && width > 0 && (long) height * width <= 1 << 20,
        "height and width must be positive, of a million codes at most; got "
            + height
            + " x "
            + width);
    wrong.require(classes >= 0, "classes must not be negative; got " + classes);
    wrong.require(
        hidden > 0 && heads > 0 && hidden % heads == 0,
        "hidden must be a positive multiple of heads; got " + hidden + " and " + heads);
    wrong.require(layers > 0, "layers must be positive; got " + layers);
    wrong.require(
        List.of("learned", "sinusoidal").contains(positions),
        "positions must be learned or sinusoidal; got '" + positions + "'");
    wrong.require(
        !positions.equals("sinusoidal") || hidden % 2 == 0,
        "hidden must be even for sinusoidal positions; got " + hidden);
    wrong.require(dropout >= 0 && dropout < 1, "dropout must be in [0, 1); got " + dropout);
    wrong.done();
  }

  /** The number of codes of a map. */
  public int length() {
    return height * width;
  }

  /**
   * Reads {@code config.json}.
   *
   * @throws IllegalArgumentException listing everything wrong
   */
  public static CodePriorConfig read(Path file) {
    JsonNode json = ModelConfig.read(file, CLASS_NAME);
    ModelConfig.Reader reader = new ModelConfig.Reader(json, file.toString());
    int codes = reader.integer("codes", 512);
    int height = reader.integer("height", 8);
    int width = reader.integer("width", 8);
    int classes = reader.integer("classes", 0);
    int hidden = reader.integer("hidden", 128);
    int layers = reader.integer("layers", 4);
    int heads = reader.integer("heads", 4);
    String positions = reader.text("positions", "learned");
    double dropout = reader.number("dropout", 0);
    reader.finish();
    return new CodePriorConfig(
        codes, height, width, classes, hidden, layers, heads, positions, dropout);
  }

  /** The configuration as {@code config.json} holds it. */
  public Map<String, @Nullable Object> toMap() {
    Map<String, @Nullable Object> map = ModelConfig.start(CLASS_NAME);
    map.put("codes", codes);
    map.put("height", height);
    map.put("width", width);
    map.put("classes", classes);
    map.put("hidden", hidden);
    map.put("layers", layers);
    map.put("heads", heads);
    map.put("positions", positions);
    map.put("dropout", dropout);
    return map;
  }
}
