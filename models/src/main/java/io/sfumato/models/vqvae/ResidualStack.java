// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import java.util.List;

/** Residual blocks of two convolutions, as in Sonnet's VQ-VAE: ReLU, 3x3, ReLU, 1x1; then ReLU. */
final class ResidualStack extends Layer {
  private final List<Block> blocks;

  ResidualStack(Weights weights, int channels, int inner, int count) {
    super(weights);
    blocks = children("blocks", count, (w, i) -> new Block(w, channels, inner));
  }

  @Override
  protected Tensor forward(Tensor x) {
    Tensor h = x; // [B, C, H, W]
    for (Block block : blocks) {
      h = block.call(h);
    }
    return NN.relu(h);
  }

  private static final class Block extends Layer {
    private final Conv2d conv1;
    private final Conv2d conv2;

    Block(Weights weights, int channels, int inner) {
      super(weights);
      conv1 = child("conv1", w -> new Conv2d(w, channels, inner, 3));
      conv2 = child("conv2", w -> new Conv2d(w, inner, channels, 1));
    }

    @Override
    protected Tensor forward(Tensor x) {
      Tensor h = conv1.call(NN.relu(x)); // [B, inner, H, W]
      return x.add(conv2.call(NN.relu(h))); // [B, C, H, W]
    }
  }
}
