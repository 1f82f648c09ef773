// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
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
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(UpsampleConv2d op, Tensor[] in, Tensor[] out) {
      Shape x = in[0].shape();
      int channels = out[0].dim(1);
      try (Staging staging = new Staging()) {
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
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(UpsampleConv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      Shape x = in[1].shape();
      int channels = in[0].dim(1);
      try (Staging staging = new Staging()) {
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

  private static long kernel(Staging staging, int in, int out) {
    return staging.allocate(4 * UpsampleConvKernel.kernelFloats(in, out));
  }
}
