// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A convolution, see {@link Conv2d}, with a coded weight [out, in/groups, kh, kw]. Inputs: x [N,
 * in, H, W], the parts of the weight (see {@link Coding}) and, if there is one, the bias [out]. The
 * weight is decoded to work space for the time of the op; it is frozen, and backward needs its
 * codes alone.
 *
 * @param coding how the weight is coded; of four axes
 * @param options one number for each spatial dimension
 * @param bias whether there is a bias
 */
public record QuantizedConv2d(Coding coding, ConvOptions options, boolean bias)
    implements Differentiable {
  @Override
  public String name() {
    return "quantized_conv2d";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    if (!x.dtype().isFloating()) {
      throw new DTypeException("input must be floating");
    }
    Shape y = ConvRules.output(2, x.shape(), coding.shape(), options);
    coding.check(in, 1);
    if (bias) {
      TensorSpec b = in.get(1 + coding.parts());
      ConvRules.bias(b, y.dim(1));
      if (b.dtype() != x.dtype()) {
        throw new DTypeException("bias must have the type of the input");
      }
    }
    return List.of(x.with(y));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layout.channelsLast(spec.shape());
  }

  @Override
  public boolean mayCast(int input) {
    return input == 0 || input > coding.parts();
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Dense w = new Dense(coding.shape(), in[0].dtype(), coding.values(in, 1));
    ConvRules.forward(in[0], w, out[0], options);
    if (bias) {
      ConvRules.addBias(in[1 + coding.parts()], out[0]);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    coding.refuseGradients(needs, 1);
    return needs[0] ? Saved.inputs(IntStream.rangeClosed(1, coding.parts()).toArray()) : Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[c.inputs()];
    Tensor g = Shaping.channelsLast(c.grad(0));
    if (c.needs(0)) {
      Tensor[] parts = new Tensor[coding.parts()];
      for (int i = 0; i < parts.length; i++) {
        parts[i] = c.input(1 + i);
      }
      Tensor w = Executor.run(new Dequantize(coding, g.dtype()), parts); // of this step's scope
      List<Integer> size = ConvRules.spatial(c.inputSpec(0).shape());
      gradients[0] = Convolutions.backwardInput2d(g, w, options, size);
    }
    int last = 1 + coding.parts();
    if (bias && c.needs(last)) {
      gradients[last] = Convolutions.channelSum(g);
    }
    return gradients;
  }
}
