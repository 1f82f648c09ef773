// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What {@link NN} and the backwards of convolutions share. */
final class Convolutions {
  private Convolutions() {}

  static Tensor conv1d(Tensor x, Tensor w, @Nullable Tensor bias, ConvOptions options) {
    if (x.rank() != 3 || w.rank() != 3) {
      throw new ShapeException(
          "conv1d: input must have shape [N, in, L] and weight [out, in/groups, k]; got "
              + x.spec()
              + ", "
              + w.spec());
    }
    ConvOptions lifted = plain("conv1d", options.resolved(1)).lifted();
    return Shaping.squeeze(
        run2d(Shaping.unsqueeze(x, 2), Shaping.unsqueeze(w, 2), bias, lifted), 2);
  }

  static Tensor conv2d(Tensor x, Tensor w, @Nullable Tensor bias, ConvOptions options) {
    return run2d(x, w, bias, plain("conv2d", options.resolved(2)));
  }

  static Tensor conv3d(Tensor x, Tensor w, @Nullable Tensor bias, ConvOptions options) {
    ConvOptions resolved = plain("conv3d", options.resolved(3));
    return bias == null
        ? Executor.run(new Conv3d(resolved, false), x, w)
        : Executor.run(new Conv3d(resolved, true), x, w, bias);
  }

  static Tensor convTranspose2d(Tensor x, Tensor w, @Nullable Tensor bias, ConvOptions options) {
    ConvOptions o = options.resolved(2);
    if (x.rank() != 4 || w.rank() != 4 || w.dim(0) != x.dim(1)) {
      throw new ShapeException(
          "conv_transpose2d: input must have shape [N, in, H, W] and weight"
              + " [in, out/groups, kh, kw] with equal in; got "
              + x.spec()
              + ", "
              + w.spec());
    }
    int[] size = new int[2];
    for (int i = 0; i < 2; i++) {
      if (o.outputPadding().get(i) >= o.stride().get(i)) {
        throw new ShapeException(
            "conv_transpose2d: output padding must be smaller than the stride; got output padding "
                + o.outputPadding()
                + ", stride "
                + o.stride());
      }
      size[i] =
          (x.dim(i + 2) - 1) * o.stride().get(i)
              - o.before().get(i)
              - o.after().get(i)
              + o.dilation().get(i) * (w.dim(i + 2) - 1)
              + o.outputPadding().get(i)
              + 1;
      if (size[i] < 1) {
        throw new ShapeException(
            "conv_transpose2d: output must have at least one row and column; got size "
                + size[i]
                + " from "
                + x.spec()
                + ", "
                + w.spec());
      }
    }
    Tensor y = backwardInput2d(x, w, o.outputPadding(0), List.of(size[0], size[1]));
    if (bias == null) {
      return y;
    }
    if (!bias.shape().equals(Shape.of(y.dim(1)))) {
      throw new ShapeException(
          "conv_transpose2d: bias must have shape [out] = [" + y.dim(1) + "]; got " + bias.spec());
    }
    return y.add(Shaping.reshape(bias, Shape.of(1, y.dim(1), 1, 1)));
  }

  static Tensor backwardInput2d(Tensor g, Tensor w, ConvOptions options, List<Integer> size) {
    return Executor.run(new Conv2dBackwardInput(options.resolved(2), size), g, w);
  }

  static Tensor backwardWeight2d(Tensor g, Tensor x, ConvOptions options, List<Integer> kernel) {
    return Executor.run(new Conv2dBackwardWeight(options, kernel), g, x);
  }

  static Tensor backwardInput3d(Tensor g, Tensor w, ConvOptions options, List<Integer> size) {
    return Executor.run(new Conv3dBackwardInput(options, size), g, w);
  }

  static Tensor backwardWeight3d(Tensor g, Tensor x, ConvOptions options, List<Integer> kernel) {
    return Executor.run(new Conv3dBackwardWeight(options, kernel), g, x);
  }

  /** The sum of g [N, C, ...] over everything but channels, [C]. */
  static Tensor channelSum(Tensor g) {
    int[] kept = new int[g.rank()];
    java.util.Arrays.fill(kept, 1);
    kept[1] = g.dim(1);
    return Shaping.reshape(Num.sumTo(g, Shape.of(kept)), Shape.of(g.dim(1)));
  }

  private static Tensor run2d(Tensor x, Tensor w, @Nullable Tensor bias, ConvOptions options) {
    return bias == null
        ? Executor.run(new Conv2d(options, false), x, w)
        : Executor.run(new Conv2d(options, true), x, w, bias);
  }

  private static ConvOptions plain(String name, ConvOptions options) {
    if (options.outputPadding().stream().anyMatch(p -> p != 0)) {
      throw new IllegalArgumentException(
          name
              + ": output padding is for transposed convolutions only; got "
              + options.outputPadding());
    }
    return options;
  }
}
