// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Conv2dKernel;
import io.sfumato.tensor.cpu.ConvGeometry;
import io.sfumato.tensor.cpu.HalfConvKernel;
import io.sfumato.tensor.cpu.HalfConvKernel.Pass;
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
      String reason = Staging.refuseBesideBfloat16(in, out);
      return reason != null || !isHalf(out)
          ? reason
          : HalfConvKernel.refuse(
              geometry(op.options(), in[0].shape(), in[1].shape()), Pass.FORWARD);
    }

    @Override
    public void launch(Conv2d op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        ConvGeometry g = geometry(op.options(), in[0].shape(), in[1].shape());
        long x = staging.channelsLast(in[0]);
        long weight = staging.rowMajor(in[1]);
        long bias = op.bias() ? staging.floats(in[2]) : 0;
        long y = out[0].address();
        if (isHalf(out)) {
          HalfConvKernel.forward(g, x, weight, cache(in[1]), bias, y);
        } else {
          Conv2dKernel.forward(g, x, weight, cache(in[1]), bias, y);
        }
      }
    }
  }

  /** The gradient of the input. */
  public static final class BackwardInput implements Kernel<Conv2dBackwardInput> {
    @Override
    public @Nullable String refuse(Conv2dBackwardInput op, Tensor[] in, Tensor[] out) {
      String reason = Staging.refuseBesideBfloat16(in, out);
      return reason != null || !isHalf(out)
          ? reason
          : HalfConvKernel.refuse(
              geometry(op.options(), out[0].shape(), in[1].shape()), Pass.BACKWARD_INPUT);
    }

    @Override
    public void launch(Conv2dBackwardInput op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        ConvGeometry g = geometry(op.options(), out[0].shape(), in[1].shape());
        long dy = staging.channelsLast(in[0]);
        long weight = staging.rowMajor(in[1]);
        long dx = out[0].address();
        if (isHalf(out)) {
          HalfConvKernel.backwardInput(g, dy, weight, cache(in[1]), dx);
        } else {
          Conv2dKernel.backwardInput(g, dy, weight, cache(in[1]), dx);
        }
      }
    }
  }

  /** The gradient of the weight. */
  public static final class BackwardWeight implements Kernel<Conv2dBackwardWeight> {
    @Override
    public @Nullable String refuse(Conv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      String reason = Staging.refuseBesideBfloat16(in, out);
      return reason != null || !isHalf(out)
          ? reason
          : HalfConvKernel.refuse(
              geometry(op.options(), in[1].shape(), out[0].shape()), Pass.BACKWARD_WEIGHT);
    }

    @Override
    public void launch(Conv2dBackwardWeight op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        ConvGeometry g = geometry(op.options(), in[1].shape(), out[0].shape());
        long x = staging.channelsLast(in[1]);
        long dy = staging.channelsLast(in[0]);
        long dw = out[0].address();
        if (isHalf(out)) {
          HalfConvKernel.backwardWeight(g, x, dy, dw);
        } else {
          Conv2dKernel.backwardWeight(g, x, dy, dw);
        }
      }
    }
  }

  private static boolean isHalf(Tensor[] out) {
    return out[0].dtype() == DType.BF16;
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
