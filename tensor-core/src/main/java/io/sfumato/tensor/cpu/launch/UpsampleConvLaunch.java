// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.ConvGeometry;
import io.sfumato.tensor.cpu.HalfConvKernel;
import io.sfumato.tensor.cpu.HalfConvKernel.Pass;
import io.sfumato.tensor.cpu.UpsampleConvKernel;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.UpsampleConv2d;
import io.sfumato.tensor.ops.UpsampleConv2dBackwardWeight;
import org.jspecify.annotations.Nullable;

/** Doubling and convolution by {@link UpsampleConvKernel}, and the weight's gradient. */
public final class UpsampleConvLaunch {
  private UpsampleConvLaunch() {}

  /** The forward pass. */
  public static final class Forward implements Kernel<UpsampleConv2d> {
    @Override
    public @Nullable String refuse(UpsampleConv2d op, Tensor[] in, Tensor[] out) {
      return refusal(in, out, in[0], out[0].rank() > 1 ? out[0].dim(1) : 0, Pass.FORWARD);
    }

    @Override
    public void launch(UpsampleConv2d op, Tensor[] in, Tensor[] out) {
      Shape x = in[0].shape();
      int channels = out[0].dim(1);
      try (Staging staging = new Staging()) {
        if (out[0].dtype().isHalf()) {
          HalfConvKernel.forward(
              doubled(x, channels),
              doubled(staging, in[0]),
              staging.rowMajor(in[1]),
              Conv2dLaunch.cache(in[1]),
              op.bias() ? staging.floats(in[2]) : 0,
              out[0].address());
          return;
        }
        UpsampleConvKernel.forward(
            x.dim(0),
            x.dim(1),
            x.dim(2),
            x.dim(3),
            channels,
            staging.channelsLast(in[0]),
            staging.rowMajor(in[1]),
            Conv2dLaunch.cache(in[1]),
            op.bias() ? staging.rowMajor(in[2]) : 0,
            kernel(staging, x.dim(1), channels),
            out[0].address());
      }
    }
  }

  /** The gradient of the weight. */
  public static final class BackwardWeight implements Kernel<UpsampleConv2dBackwardWeight> {
    @Override
    public @Nullable String refuse(UpsampleConv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      return refusal(in, out, in[1], in[0].rank() > 1 ? in[0].dim(1) : 0, Pass.BACKWARD_WEIGHT);
    }

    @Override
    public void launch(UpsampleConv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      Shape x = in[1].shape();
      int channels = in[0].dim(1);
      try (Staging staging = new Staging()) {
        if (out[0].dtype().isHalf()) {
          long gradient = staging.channelsLast(in[0]);
          HalfConvKernel.backwardWeight(
              doubled(x, channels), doubled(staging, in[1]), gradient, out[0].address());
          return;
        }
        UpsampleConvKernel.backwardWeight(
            x.dim(0),
            x.dim(1),
            x.dim(2),
            x.dim(3),
            channels,
            staging.channelsLast(in[1]),
            staging.channelsLast(in[0]),
            kernel(staging, x.dim(1), channels),
            out[0].address());
      }
    }
  }

  /** bf16 is doubled in memory: the unit does the more taps faster than phases would be. */
  private static @Nullable String refusal(
      Tensor[] in, Tensor[] out, Tensor x, int channels, Pass pass) {
    String reason = Staging.refuseBesideBfloat16(in, out);
    return reason != null || !out[0].dtype().isHalf()
        ? reason
        : HalfConvKernel.refuse(doubled(x.shape(), channels), pass);
  }

  /** The convolution of the doubled input. */
  private static ConvGeometry doubled(Shape x, int channels) {
    return ConvGeometry.of(x.dim(0), x.dim(1), 2 * x.dim(2), 2 * x.dim(3), channels, 3, 1, 1);
  }

  private static long doubled(Staging staging, Tensor x) {
    long to = staging.allocate(4 * x.spec().bytes());
    HalfConvKernel.doubled(x.dim(0) * x.dim(2), x.dim(3), x.dim(1), staging.channelsLast(x), to);
    return to;
  }

  private static long kernel(Staging staging, int in, int out) {
    return staging.allocate(4 * UpsampleConvKernel.kernelFloats(in, out));
  }
}
