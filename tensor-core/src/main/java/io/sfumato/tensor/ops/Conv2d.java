// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Convolution (cross-correlation, as in deep learning): inputs x [N, in, H, W], weight [out,
 * in/groups, kh, kw] and, if there is one, bias [out]; output [N, out, ...], channels-last in
 * memory.
 *
 * @param options one number for each spatial dimension
 * @param bias whether there is a bias
 */
public record Conv2d(ConvOptions options, boolean bias) implements Differentiable {
  @Override
  public String name() {
    return "conv2d";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape y = ConvRules.output(2, in.get(0).shape(), in.get(1).shape(), options);
    if (bias) {
      ConvRules.bias(in.get(2), y.dim(1));
    }
    return List.of(in.getFirst().with(y));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layout.channelsLast(spec.shape());
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    ConvRules.forward(in[0], in[1], out[0], options);
    if (bias) {
      ConvRules.addBias(in[2], out[0]);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputsIf(new int[] {0, 1}, needs[1], needs[0]);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[c.inputs()];
    Tensor g = Shaping.channelsLast(c.grad(0)); // once, for all three gradients
    if (c.needs(0)) {
      List<Integer> size = ConvRules.spatial(c.inputSpec(0).shape());
      gradients[0] = Convolutions.backwardInput2d(g, c.input(1), options, size);
    }
    if (c.needs(1)) {
      List<Integer> kernel = ConvRules.spatial(c.inputSpec(1).shape());
      gradients[1] = Convolutions.backwardWeight2d(g, c.input(0), options, kernel);
    }
    if (bias && c.needs(2)) {
      gradients[2] = Convolutions.channelSum(g);
    }
    return gradients;
  }
}
