// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.BatchNorm2d;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import java.util.ArrayList;
import java.util.List;

/**
 * A discriminator that judges overlapping patches of a picture (Isola et al. 2017, "Image-to-Image
 * Translation with Conditional Adversarial Networks"; taming-transformers
 * modules/discriminator/model.py, NLayerDiscriminator), with its parameter names: {@code
 * main.0.weight} and so on.
 */
public final class PatchDiscriminator extends Layer {
  private static final double SLOPE = 0.2;
  private static final int KERNEL = 4;
  private static final double STD = 0.02;

  private final List<Layer> layers = new ArrayList<>();

  /** The reference's network: 64 channels at first, three halvings. */
  public PatchDiscriminator(Weights weights, int in) {
    this(weights, in, 64, 3);
  }

  /**
   * A network.
   *
   * @param weights the source of its parameters
   * @param in channels of the pictures
   * @param channels of the first layer; each of the next has twice as many, but at most eight times
   * @param halvings layers that halve the picture
   */
  public PatchDiscriminator(Weights weights, int in, int channels, int halvings) {
    super(weights);
    if (in < 1 || channels < 1 || halvings < 1) {
      throw new IllegalArgumentException(
          path()
              + ": channels and halvings must be positive; got "
              + in
              + ", "
              + channels
              + " and "
              + halvings);
    }
    // The names count activations too: 0 is a convolution, 1 its activation, 2 the next one.
    conv(0, in, channels, 2, true);
    int from = channels;
    for (int n = 1; n <= halvings; n++) {
      int to = channels * Math.min(1 << n, 8);
      conv(3 * n - 1, from, to, n < halvings ? 2 : 1, false);
      layers.add(child("main." + 3 * n, w -> new BatchNorm2d(w, to, 1e-5, 0.1, norms())));
      from = to;
    }
    conv(3 * halvings + 2, from, 1, 1, true);
  }

  private void conv(int index, int in, int out, int stride, boolean bias) {
    ConvOptions options = ConvOptions.of().stride(stride).padding(1);
    Init byDefault = Init.fanIn((long) in * KERNEL * KERNEL);
    Init init =
        (spec, rng) -> (spec.shape().rank() == 1 ? byDefault : Init.normal(STD)).create(spec, rng);
    layers.add(child("main." + index, w -> new Conv2d(w, in, out, KERNEL, options, init, bias)));
  }

  /** Normalisations start near 1. */
  private static Init norms() {
    return (spec, rng) -> Init.normal(STD).create(spec, rng).add(1).to(spec.dtype());
  }

  /**
   * Scores of patches, high for real ones.
   *
   * @param x [B, in, H, W]
   * @return [B, 1, h, w]
   */
  @Override
  protected Tensor forward(Tensor x) {
    Tensor h = x;
    for (int i = 0; i < layers.size(); i++) {
      h = layers.get(i).call(h);
      boolean last = i == layers.size() - 1;
      boolean normalised = i > 0 && !last && i % 2 == 1; // its activation follows the norm
      if (!last && !normalised) {
        h = NN.leakyRelu(h, SLOPE);
      }
    }
    return h;
  }
}
