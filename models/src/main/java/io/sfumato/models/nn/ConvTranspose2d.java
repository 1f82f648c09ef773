// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Transposed 2-D convolution, the adjoint of {@link Conv2d}; x is [B, in, H, W], the weight [in,
 * out/groups, k, k]. Initialised as PyTorch's nn.ConvTranspose2d.
 */
public final class ConvTranspose2d extends WeightLayer {
  private final Parameter weight;
  private final @Nullable Parameter bias;
  private final ConvOptions options;

  /**
   * A square kernel.
   *
   * @param options stride, padding, output padding, dilation and groups
   * @param bias whether there is a bias
   */
  public ConvTranspose2d(
      Weights weights, int in, int out, int kernel, ConvOptions options, boolean bias) {
    super(weights);
    int perGroup = out / options.groups();
    Init init = Init.fanIn((long) perGroup * kernel * kernel); // PyTorch's fan-in of this layer
    this.weight = parameter("weight", Shape.of(in, perGroup, kernel, kernel), init);
    this.bias = bias ? parameter("bias", Shape.of(out), init) : null;
    this.options = options;
  }

  @Override
  public Parameter weight() {
    return weight;
  }

  @Override
  public Optional<Parameter> bias() {
    return Optional.ofNullable(bias);
  }

  @Override
  public Tensor compute(Tensor x, Tensor w, @Nullable Tensor b) {
    return NN.convTranspose2d(x, w, b, options);
  }
}
