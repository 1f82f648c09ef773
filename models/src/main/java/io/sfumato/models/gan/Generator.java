// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.gan;

import io.sfumato.models.nn.ConvTranspose2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Pictures from noise. {@code dcgan}: a linear layer to the smallest picture, then transposed
 * convolutions (kernel 4, stride 2) that double it, with normalisation and ReLU between them, and
 * tanh at the end (Radford et al. 2016). {@code mlp}: the same with linear layers. A class adds its
 * row of a table to the noise, as further dimensions.
 */
public final class Generator extends Module {
  private final GanConfig config;
  private final @Nullable Embedding classes;
  private final Layer input;
  private final List<Layer> norms = new ArrayList<>();
  private final List<Layer> layers = new ArrayList<>();

  Generator(Weights weights, GanConfig config) {
    super(weights);
    this.config = config;
    Integer n = config.numClasses();
    classes =
        n == null
            ? null
            : child("class_embedding", w -> new Embedding(w, n, config.classEmbedDim()));
    int z = config.latentDim() + (n == null ? 0 : config.classEmbedDim());
    List<Integer> sizes = config.generatorSizes();
    int levels = sizes.size();
    boolean bias = config.generatorNorm().equals("none"); // a normalisation takes it away
    int area = config.isConvolutional() ? height(levels) * width(levels) : 1;
    input = child("input", w -> new Linear(w, z, sizes.getFirst() * area, bias));
    ConvOptions twice = ConvOptions.of().stride(2).padding(1);
    for (int i = 0; i < levels; i++) {
      int from = sizes.get(i);
      boolean last = i == levels - 1;
      norms.add(
          child(
              "norms." + i,
              w -> Networks.norm(w, config.generatorNorm(), config.normNumGroups(), from)));
      if (config.isConvolutional()) {
        int to = last ? config.imageChannels() : sizes.get(i + 1);
        layers.add(
            child("layers." + i, w -> new ConvTranspose2d(w, from, to, 4, twice, bias || last)));
      } else {
        int to = last ? config.pixels() : sizes.get(i + 1);
        layers.add(child("layers." + i, w -> new Linear(w, from, to, bias || last)));
      }
    }
  }

  private int height(int levels) {
    return config.height() >> levels;
  }

  private int width(int levels) {
    return config.width() >> levels;
  }

  /**
   * Pictures.
   *
   * @param z standard normal noise [B, latent]
   * @param labels I64 [B], or null if the model has no classes
   * @return [B, C, H, W] in [-1, 1]
   */
  public Tensor call(Tensor z, @Nullable Tensor labels) {
    Networks.checkLabels(config, labels);
    if (z.rank() != 2 || z.dim(1) != config.latentDim()) {
      throw new ShapeException(
          "the noise must have shape [B, " + config.latentDim() + "]; got " + z.spec());
    }
    return call(() -> forward(z, labels));
  }

  /** Pictures of fresh noise: {@link #call} of z ~ N(0, I). */
  public Tensor sample(int n, @Nullable Tensor labels, Rng rng) {
    Tensor z = rng.normal(n, config.latentDim());
    return call(z.to(parameters().getFirst().value().device()), labels);
  }

  private Tensor forward(Tensor z, @Nullable Tensor labels) {
    Tensor h =
        classes == null || labels == null
            ? z
            : Shaping.concat(1, z, classes.call(labels)); // [B, z]
    h = input.call(h);
    if (config.isConvolutional()) {
      int levels = layers.size();
      h = h.reshape(h.dim(0), -1, height(levels), width(levels)); // [B, c, h, w]
    }
    for (int i = 0; i < layers.size(); i++) {
      h = NN.relu(norms.get(i).call(h));
      h = layers.get(i).call(h); // [B, c, 2 h, 2 w], or [B, width]
    }
    return Num.tanh(h).reshape(z.dim(0), config.imageChannels(), config.height(), config.width());
  }
}
