// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.gan;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.SpectralNorm;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A score per picture: large for real, small for generated ones. {@code dcgan}: convolutions
 * (kernel 4, stride 2) that halve the picture, with leaky ReLU (slope 0.2) after each and a
 * normalisation before it in all but the first; a linear layer of the flattened result φ(x). {@code
 * mlp}: the same with linear layers.
 *
 * <p>A class enters by projection, {@code score = w φ(x) + b + e(y) φ(x)} (Miyato and Koyama 2018),
 * or by embedding, as a channel (a vector of the picture's size) that a table gives.
 */
public final class Discriminator extends Module {
  private static final double SLOPE = 0.2;

  /** As small as PyTorch's first values of a linear layer, so that scores start near zero. */
  private static final double PROJECTION_STD = 0.02;

  private final GanConfig config;
  private final @Nullable Layer classes;
  private final List<Layer> layers = new ArrayList<>();
  private final List<Layer> norms = new ArrayList<>();
  private final Layer output;

  Discriminator(Weights weights, GanConfig config) {
    super(weights);
    this.config = config;
    List<Integer> sizes = config.discriminatorSizes();
    Integer n = config.numClasses();
    boolean joined = n != null && !config.projects();
    int levels = sizes.size();
    int area =
        config.isConvolutional() ? (config.height() >> levels) * (config.width() >> levels) : 1;
    int features = sizes.getLast() * area;
    int map = config.height() * config.width();
    classes =
        n == null ? null : child("class_embedding", w -> table(w, n, joined ? map : features));
    int in = config.isConvolutional() ? config.imageChannels() : config.pixels();
    in += joined ? config.isConvolutional() ? 1 : map : 0;
    for (int i = 0; i < levels; i++) {
      int from = in;
      int to = sizes.get(i);
      String norm = i == 0 ? "none" : config.discriminatorNorm();
      boolean bias = norm.equals("none"); // a normalisation takes it away
      layers.add(child("layers." + i, w -> layer(w, from, to, bias)));
      norms.add(child("norms." + i, w -> Networks.norm(w, norm, config.normNumGroups(), to)));
      in = to;
    }
    output =
        child(
            "output",
            w ->
                config.spectralNorm()
                    ? SpectralNorm.linear(w, features, 1, true)
                    : new Linear(w, features, 1));
  }

  private Layer layer(Weights w, int in, int out, boolean bias) {
    if (config.isConvolutional()) {
      ConvOptions halve = ConvOptions.of().stride(2).padding(1);
      return config.spectralNorm()
          ? SpectralNorm.conv2d(w, in, out, 4, halve, bias)
          : new Conv2d(w, in, out, 4, halve, null, bias);
    }
    return config.spectralNorm()
        ? SpectralNorm.linear(w, in, out, bias)
        : new Linear(w, in, out, bias);
  }

  private Layer table(Weights w, int n, int width) {
    return config.spectralNorm()
        ? SpectralNorm.embedding(w, n, width)
        : new Embedding(w, n, width, Init.normal(PROJECTION_STD));
  }

  /**
   * Scores.
   *
   * @param x pictures [B, C, H, W] in [-1, 1]
   * @param labels I64 [B], or null if the model has no classes
   * @return [B]
   */
  public Tensor call(Tensor x, @Nullable Tensor labels) {
    Networks.checkLabels(config, labels);
    Shape wanted = Shape.of(x.dim(0), config.imageChannels(), config.height(), config.width());
    if (!x.shape().equals(wanted)) {
      throw new ShapeException("the pictures must have shape " + wanted + "; got " + x.spec());
    }
    return call(() -> forward(x, labels));
  }

  private Tensor forward(Tensor x, @Nullable Tensor labels) {
    int batch = x.dim(0);
    Tensor row = classes == null || labels == null ? null : classes.call(labels); // [B, width]
    Tensor h = config.isConvolutional() ? x : x.reshape(batch, -1);
    if (row != null && !config.projects()) {
      Tensor more =
          config.isConvolutional() ? row.reshape(batch, 1, config.height(), config.width()) : row;
      h = Shaping.concat(1, h, more);
    }
    for (int i = 0; i < layers.size(); i++) {
      h = norms.get(i).call(layers.get(i).call(h)); // [B, c, h / 2, w / 2], or [B, width]
      h = NN.leakyRelu(h, SLOPE);
    }
    Tensor features = h.reshape(batch, -1); // φ(x) [B, features]
    Tensor score = output.call(features).squeeze(1); // [B]
    return row != null && config.projects() ? score.add(Num.sum(row.mul(features), 1)) : score;
  }
}
