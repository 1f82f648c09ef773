// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A picture made twice as large by repeating pixels ({@link UpsampleNearest}), then a 3 x 3
 * convolution with padding 1: inputs x [N, in, H, W], weight [out, in, 3, 3] and, if there is one,
 * bias [out]; output [N, out, 2 H, 2 W], channels-last in memory.
 *
 * <p>Neighbouring taps of the kernel often meet copies of one pixel. With their weights added, it
 * is the transposed convolution of stride 2 and padding 1 by K [in, out, 4, 4], {@code K[i, o, s,
 * t] = Σ w[o, i, 2 - s + a, 2 - t + b]} over a and b from 0 and 1, where those are taps of w: 4
 * products for each output and channel instead of 9, and the large picture is never stored.
 *
 * @param bias whether there is a bias
 */
public record UpsampleConv2d(boolean bias) implements Differentiable, Composite {
  static final ConvOptions SAME = ConvOptions.of().padding(1).resolved(2);

  /**
   * Doubles and convolves, in one op.
   *
   * @param x [N, in, H, W]; channels-last in memory is fastest
   * @param weight [out, in, 3, 3]
   * @param bias [out], or null
   * @return [N, out, 2 H, 2 W], channels-last in memory
   * @throws ShapeException if the shapes do not fit
   */
  public static Tensor apply(Tensor x, Tensor weight, @Nullable Tensor bias) {
    return bias == null
        ? Executor.run(new UpsampleConv2d(false), x, weight)
        : Executor.run(new UpsampleConv2d(true), x, weight, bias);
  }

  @Override
  public String name() {
    return "upsample_conv2d";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape x = in.get(0).shape();
    Shape w = in.get(1).shape();
    if (x.rank() != 4) {
      throw new ShapeException("input must have shape [N, in, H, W]");
    }
    if (x.dim(2) < 1 || x.dim(3) < 1) {
      throw new ShapeException("height and width must be positive");
    }
    if (w.rank() != 4 || w.dim(1) != x.dim(1) || w.dim(2) != 3 || w.dim(3) != 3) {
      throw new ShapeException("weight must have shape [out, in, 3, 3] with in = " + x.dim(1));
    }
    if (bias) {
      ConvRules.bias(in.get(2), w.dim(0));
    }
    return List.of(in.getFirst().with(doubled(x).with(1, w.dim(0))));
  }

  /** The shape with twice the height and width. */
  static Shape doubled(Shape x) {
    return x.with(2, 2 * x.dim(2)).with(3, 2 * x.dim(3));
  }

  /** The first half of the op. */
  static UpsampleNearest upsampling(Shape x) {
    return new UpsampleNearest(ConvRules.spatial(doubled(x)));
  }

  /** The large picture. */
  static Dense upsampled(Dense x) {
    Dense up = Dense.zeros(doubled(x.shape()), x.dtype());
    upsampling(x.shape()).reference(new Dense[] {x}, new Dense[] {up});
    return up;
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layout.channelsLast(spec.shape());
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    ConvRules.forward(upsampled(in[0]), in[1], out[0], SAME);
    if (bias) {
      ConvRules.addBias(in[2], out[0]);
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor up = Resampling.apply(upsampling(in[0].shape()), in[0]);
    return new Tensor[] {NN.conv2d(up, in[1], bias ? in[2] : null, SAME)};
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
      // through the large picture: faster than K's stride of 2 wherever it was measured
      Shape x = c.inputSpec(0).shape();
      List<Integer> large = ConvRules.spatial(g.shape());
      Tensor up = Convolutions.backwardInput2d(g, c.input(1), SAME, large);
      gradients[0] = Executor.run(new ResampleBackward(upsampling(x), ConvRules.spatial(x)), up);
    }
    if (c.needs(1)) {
      gradients[1] = Executor.run(new UpsampleConv2dBackwardWeight(), g, c.input(0));
    }
    if (bias && c.needs(2)) {
      gradients[2] = Convolutions.channelSum(g);
    }
    return gradients;
  }
}
