// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;

/**
 * Convolutions that halve or double a picture (diffusers models/downsampling.py, upsampling.py).
 */
public final class Resampling {
  private Resampling() {}

  /**
   * 3x3 convolution with stride 2. With padding 0 one column is added on the right and one row at
   * the bottom instead.
   */
  public static final class Downsample2D extends Layer {
    private final Conv2d conv;

    /** A layer that keeps the number of channels. */
    public Downsample2D(Weights weights, int channels, int padding) {
      super(weights);
      ConvOptions options = ConvOptions.of().stride(2);
      ConvOptions padded = padding == 0 ? options.padding(0, 0, 1, 1) : options.padding(padding);
      conv = child("conv", w -> new Conv2d(w, channels, channels, 3, padded));
    }

    @Override
    protected Tensor forward(Tensor x) {
      return conv.call(x);
    }
  }

  /** Nearest-neighbour doubling, then a 3x3 convolution. */
  public static final class Upsample2D extends Layer {
    private final Conv2d conv;

    /** A layer that keeps the number of channels. */
    public Upsample2D(Weights weights, int channels) {
      super(weights);
      conv = child("conv", w -> new Conv2d(w, channels, channels, 3));
    }

    @Override
    protected Tensor forward(Tensor x) {
      return conv.callDoubled(x);
    }

    /** The same to a given size, for pictures whose halves were rounded up. */
    public Tensor call(Tensor x, int height, int width) {
      return 2 * x.dim(2) == height && 2 * x.dim(3) == width
          ? call(x)
          : call(() -> conv.call(NN.upsampleNearest(x, height, width)));
    }
  }
}
