// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The recognition model q(z | x, y) of a {@link Vae}: {@code layers.N}, then two linear heads. */
final class VaeEncoder extends Module {
  private final VaeConfig config;
  private final List<Layer> layers = new ArrayList<>();
  private final @Nullable Linear dense;
  private final Linear mean;
  private final Linear logVariance;
  private final Activation activation;

  VaeEncoder(Weights weights, VaeConfig config) {
    super(weights);
    this.config = config;
    this.activation = Activation.parse(config.activation());
    int classes = config.numClasses() == null ? 0 : config.numClasses();
    int levels = config.hiddenSizes().size();
    int features;
    if (config.isConvolutional()) {
      ConvOptions halve = ConvOptions.of().stride(2).padding(1);
      int in = config.imageChannels();
      for (int i = 0; i < levels; i++) {
        int from = in;
        int to = config.hiddenSizes().get(i);
        layers.add(child("layers." + i, w -> new Conv2d(w, from, to, 4, halve)));
        in = to;
      }
      int pixels = (config.height() >> levels) * (config.width() >> levels);
      int flat = in * pixels + classes;
      dense = child("dense", w -> new Linear(w, flat, config.denseSize()));
      features = config.denseSize();
    } else {
      int in = config.pixels() + classes;
      for (int i = 0; i < levels; i++) {
        int from = in;
        int to = config.hiddenSizes().get(i);
        layers.add(child("layers." + i, w -> new Linear(w, from, to)));
        in = to;
      }
      dense = null;
      features = in;
    }
    mean = child("mean", w -> new Linear(w, features, config.latentDim()));
    logVariance = child("log_variance", w -> new Linear(w, features, config.latentDim()));
  }

  /** The posterior of pictures [B, C, H, W] and, for a conditional model, one-hot labels. */
  Vae.Posterior call(Tensor x, @Nullable Tensor oneHot) {
    Tensor h = call(() -> features(x, oneHot)); // [B, features]
    return new Vae.Posterior(mean.call(h), logVariance.call(h)); // [B, latent]
  }

  private Tensor features(Tensor x, @Nullable Tensor oneHot) {
    Tensor h = config.isConvolutional() ? x : joined(flat(x), oneHot);
    for (Layer layer : layers) {
      h = activation.apply(layer.call(h)); // [B, c, H/2, W/2], or [B, width]
    }
    return dense == null ? h : activation.apply(dense.call(joined(flat(h), oneHot)));
  }

  private static Tensor flat(Tensor x) {
    return x.reshape(x.dim(0), -1);
  }

  /** Labels beside what they belong to. */
  static Tensor joined(Tensor x, @Nullable Tensor oneHot) {
    return oneHot == null ? x : Shaping.concat(1, x, oneHot);
  }
}
