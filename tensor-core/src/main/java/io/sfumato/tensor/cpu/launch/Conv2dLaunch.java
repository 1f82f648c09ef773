// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Conv2dKernel;
import io.sfumato.tensor.cpu.ConvGeometry;
import io.sfumato.tensor.cpu.PackedWeights;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.ConvOptions;
import org.jspecify.annotations.Nullable;

/** Convolutions over images by {@link Conv2dKernel}; what is not channels-last is copied first. */
public final class Conv2dLaunch {
  private Conv2dLaunch() {}

  /** The convolution. */
  public static final class Forward implements Kernel<Conv2d> {
    @Override
    public @Nullable String refuse(Conv2d op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Conv2d op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        Conv2dKernel.forward(
            geometry(op.options(), in[0].shape(), in[1].shape()),
            staging.channelsLast(in[0]),
            staging.rowMajor(in[1]),
            cache(in[1]),
            op.bias() ? staging.rowMajor(in[2]) : 0,
            out[0].address());
      }
    }
  }

  /** The gradient of the input. */
  public static final class BackwardInput implements Kernel<Conv2dBackwardInput> {
    @Override
    public @Nullable String refuse(Conv2dBackwardInput op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Conv2dBackwardInput op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        Conv2dKernel.backwardInput(
            geometry(op.options(), out[0].shape(), in[1].shape()),
            staging.channelsLast(in[0]),
            staging.rowMajor(in[1]),
            cache(in[1]),
            out[0].address());
      }
    }
  }

  /** The gradient of the weight. */
  public static final class BackwardWeight implements Kernel<Conv2dBackwardWeight> {
    @Override
    public @Nullable String refuse(Conv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Conv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        Conv2dKernel.backwardWeight(
            geometry(op.options(), in[1].shape(), out[0].shape()),
            staging.channelsLast(in[1]),
            staging.channelsLast(in[0]),
            out[0].address());
      }
    }
  }

  /** Keeps what is packed of a weight that lies as the kernel reads it. */
  static PackedWeights.Cache cache(Tensor weight) {
    return weight.layout().isContiguous() ? PackedWeights.of(weight) : PackedWeights.Cache.NONE;
  }

  private static ConvGeometry geometry(ConvOptions o, Shape x, Shape w) {
    return new ConvGeometry(
        x.dim(0),
        x.dim(1),
        x.dim(2),
        x.dim(3),
        w.dim(0),
        w.dim(2),
        w.dim(3),
        o.stride().get(0),
        o.stride().get(1),
        o.before().get(0),
        o.before().get(1),
        o.after().get(0),
        o.after().get(1),
        o.dilation().get(0),
        o.dilation().get(1),
        o.groups());
  }
}
