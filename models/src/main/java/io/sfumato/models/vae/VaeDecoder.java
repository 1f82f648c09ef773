// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.ConvTranspose2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The network of the generative model p(x | z, y) of a {@link Vae}: the encoder's layers in
 * reverse, ended by {@code out}. Its result is logits, or means, or means and log-variances.
 */
final class VaeDecoder extends Module {
  private final VaeConfig config;
  private final @Nullable Linear dense;
  private final @Nullable Linear unflatten;
  private final List<Layer> layers = new ArrayList<>();
  private final Layer out;
  private final Activation activation;
  private final int outputs;

  VaeDecoder(Weights weights, VaeConfig config) {
    super(weights);
    this.config = config;
    this.activation = Activation.parse(config.activation());
    this.outputs = config.predictsVariance() ? 2 * config.imageChannels() : config.imageChannels();
    int z = config.latentDim() + (config.numClasses() == null ? 0 : config.numClasses());
    List<Integer> sizes = config.hiddenSizes().reversed();
    int levels = sizes.size();
    if (config.isConvolutional()) {
      ConvOptions twice = ConvOptions.of().stride(2).padding(1);
      int flat = sizes.getFirst() * (config.height() >> levels) * (config.width() >> levels);
      dense = child("dense", w -> new Linear(w, z, config.denseSize()));
      unflatten = child("unflatten", w -> new Linear(w, config.denseSize(), flat));
      for (int i = 0; i + 1 < levels; i++) {
        int from = sizes.get(i);
        int to = sizes.get(i + 1);
        layers.add(child("layers." + i, w -> new ConvTranspose2d(w, from, to, 4, twice, true)));
      }
      out = child("out", w -> new ConvTranspose2d(w, sizes.getLast(), outputs, 4, twice, true));
    } else {
      dense = null;
      unflatten = null;
      int in = z;
      for (int i = 0; i < levels; i++) {
        int from = in;
        int to = sizes.get(i);
        layers.add(child("layers." + i, w -> new Linear(w, from, to)));
        in = to;
      }
      int all = outputs * config.height() * config.width();
      out = child("out", w -> new Linear(w, sizes.getLast(), all));
    }
  }

  /** The network's output [B, C or 2 C, H, W] for z [B, latent]. */
  Tensor call(Tensor z, @Nullable Tensor oneHot) {
    return call(() -> forward(VaeEncoder.joined(z, oneHot)));
  }

  private Tensor forward(Tensor z) {
    Tensor h = z; // [B, latent + classes]
    if (dense != null && unflatten != null) {
      h = activation.apply(dense.call(h)); // [B, dense]
      h = activation.apply(unflatten.call(h)); // [B, c h w]
      int levels = config.hiddenSizes().size();
      h = h.reshape(h.dim(0), -1, config.height() >> levels, config.width() >> levels);
    }
    for (Layer layer : layers) {
      h = activation.apply(layer.call(h)); // [B, c, 2 h, 2 w], or [B, width]
    }
    return out.call(h).reshape(h.dim(0), outputs, config.height(), config.width());
  }
}
