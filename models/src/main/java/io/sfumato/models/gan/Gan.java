// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.gan;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.nio.file.Path;

/**
 * A generative adversarial network (Goodfellow et al. 2014): a generator that makes pictures from
 * noise, and a discriminator that tells them from real ones. How they play is in {@link GanLoss}.
 *
 * {@snippet :
 * var gan = Gan.open(folder);                            // config.json and weights
 * Tensor pictures = gan.generator().sample(16, labels, rng);
 * }
 */
public final class Gan extends Module {
  private final GanConfig config;
  private final Generator generator;
  private final Discriminator discriminator;

  /** A model whose parameters come from {@code weights}. */
  public Gan(Weights weights, GanConfig config) {
    super(weights);
    this.config = config;
    this.generator = child("generator", w -> new Generator(w, config));
    this.discriminator = child("discriminator", w -> new Discriminator(w, config));
  }

  /**
   * Reads a folder that {@link #save} wrote.
   *
   * @throws IllegalArgumentException if the configuration is not valid
   * @throws WeightsException naming what is missing, unused or does not fit
   */
  public static Gan open(Path folder) {
    GanConfig config = GanConfig.read(folder.resolve("config.json"));
    try (Weights weights = Weights.open(folder.resolve("model.safetensors"))) {
      Gan gan = new Gan(weights, config);
      try {
        weights.requireAllUsed();
      } catch (WeightsException e) {
        gan.close();
        throw e;
      }
      return gan;
    }
  }

  /** Writes {@code config.json} and {@code model.safetensors} into an existing folder. */
  public void save(Path folder) {
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    SafeTensors.save(folder.resolve("model.safetensors"), stateDict());
  }

  /** The configuration. */
  public GanConfig config() {
    return config;
  }

  /** The network that makes pictures. */
  public Generator generator() {
    return generator;
  }

  /** The network that judges them. */
  public Discriminator discriminator() {
    return discriminator;
  }
}
