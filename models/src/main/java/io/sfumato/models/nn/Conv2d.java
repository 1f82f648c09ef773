// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.CodedTensor;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.UpsampleConv2d;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * 2-D convolution; x is [B, in, H, W], the weight [out, in/groups, k, k]. Initialised as PyTorch's
 * nn.Conv2d.
 */
public final class Conv2d extends WeightLayer {
  private static final ConvOptions SAME = ConvOptions.of().padding(1).resolved(2);

  private final Parameter weight;
  private final @Nullable Parameter bias;
  private final ConvOptions options;

  /** A square kernel of odd size that keeps the picture's size. */
  public Conv2d(Weights weights, int in, int out, int kernel) {
    this(weights, in, out, kernel, ConvOptions.of().padding(kernel / 2));
  }

  /** A square kernel with stride, padding, dilation and groups as in {@code options}. */
  public Conv2d(Weights weights, int in, int out, int kernel, ConvOptions options) {
    this(weights, in, out, kernel, options, null);
  }

  /** As before, with own initial values of weight and bias (PyTorch's if null). */
  public Conv2d(
      Weights weights, int in, int out, int kernel, ConvOptions options, @Nullable Init init) {
    this(weights, in, out, kernel, options, init, true);
  }

  /** As before, with or without bias. */
  public Conv2d(
      Weights weights,
      int in,
      int out,
      int kernel,
      ConvOptions options,
      @Nullable Init init,
      boolean bias) {
    super(weights);
    int perGroup = in / options.groups();
    Init values = init == null ? Init.fanIn((long) perGroup * kernel * kernel) : init;
    this.weight = parameter("weight", Shape.of(out, perGroup, kernel, kernel), values);
    this.bias = bias ? parameter("bias", Shape.of(out), values) : null;
    this.options = options;
  }

  @Override
  public Parameter weight() {
    return current(weight);
  }

  @Override
  public Optional<Parameter> bias() {
    return Optional.ofNullable(bias);
  }

  /** Stride, padding, dilation and groups. */
  public ConvOptions options() {
    return options;
  }

  /**
   * The layer behind a picture that is made twice as large by repeating pixels, x [B, in, H, W]. On
   * the CPU 3 x 3 kernels without an adapter and codes do both in one op, {@link UpsampleConv2d},
   * whose sums differ from two ops' in the last bits.
   */
  public Tensor callDoubled(Tensor x) {
    boolean one =
        x.device().equals(Device.CPU)
            && adapters().isEmpty()
            && quantized().isEmpty()
            && x.dtype() == weight().value().dtype()
            && weight().value().dim(2) == 3
            && options.resolved(2).equals(SAME);
    return one
        ? call(() -> UpsampleConv2d.apply(x, weight().value(), bias == null ? null : bias.value()))
        : call(NN.upsampleNearest(x, 2));
  }

  @Override
  public Tensor compute(Tensor x, Tensor w, @Nullable Tensor b) {
    return NN.conv2d(x, w, b, options);
  }

  @Override
  public @Nullable String refusesQuantization() {
    return null;
  }

  @Override
  protected Tensor computeCoded(Tensor x, CodedTensor w, @Nullable Tensor b) {
    return w.conv2d(x, b, options);
  }
}
