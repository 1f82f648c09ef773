// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.Conv3d;
import io.sfumato.tensor.ops.Conv3dBackwardInput;
import io.sfumato.tensor.ops.Conv3dBackwardWeight;
import io.sfumato.tensor.ops.ConvOptions;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Convolutions over images and volumes and their gradients. */
public final class ConvLaunch {
  private ConvLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Conv2d.class, new Forward<>(Conv2d::options))
        .add(Conv2dBackwardInput.class, new BackwardInput<>(Conv2dBackwardInput::options))
        .add(Conv2dBackwardWeight.class, new BackwardWeight<>(Conv2dBackwardWeight::options))
        .add(Conv3d.class, new Forward<>(Conv3d::options))
        .add(Conv3dBackwardInput.class, new BackwardInput<>(Conv3dBackwardInput::options))
        .add(Conv3dBackwardWeight.class, new BackwardWeight<>(Conv3dBackwardWeight::options));
  }

  private static @Nullable String refuse(ConvOptions o, Tensor x, Tensor w, Tensor y) {
    if (w.numel() == 0) {
      return "needs channels";
    }
    return Convolution.of(o, x, w, y).tooLarge();
  }

  /** Inputs x, w and, if there is one, bias; output y. */
  record Forward<O extends Op>(Function<O, ConvOptions> options) implements Kernel<O> {
    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return ConvLaunch.refuse(options.apply(op), in[0], in[1], out[0]);
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Convolution c = Convolution.of(options.apply(op), in[0], in[1], out[0]);
      try (Staging staging = new Staging(gpu);
          ConvWeights w = new ConvWeights(gpu, c, in[1])) {
        long x = staging.channelsLast(in[0]);
        long bias = in.length > 2 ? staging.rowMajor(in[2]) : 0;
        Convolutions.of(gpu).forward(c, x, w, bias, out[0].address());
      }
    }
  }

  /** Inputs the gradient of y, and w; output that of x. */
  record BackwardInput<O extends Op>(Function<O, ConvOptions> options) implements Kernel<O> {
    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return ConvLaunch.refuse(options.apply(op), out[0], in[1], in[0]);
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Convolution c = Convolution.of(options.apply(op), out[0], in[1], in[0]);
      try (Staging staging = new Staging(gpu);
          ConvWeights w = new ConvWeights(gpu, c, in[1])) {
        long dy = staging.channelsLast(in[0]);
        Convolutions.of(gpu).backwardInput(c, dy, w, out[0].address());
      }
    }
  }

  /** Inputs the gradient of y, and x; output that of w. */
  record BackwardWeight<O extends Op>(Function<O, ConvOptions> options) implements Kernel<O> {
    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return ConvLaunch.refuse(options.apply(op), in[1], out[0], in[0]);
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(out[0]);
      Convolution c = Convolution.of(options.apply(op), in[1], out[0], in[0]);
      if (c.images() == 0) {
        gpu.zero(out[0].address(), out[0].spec().bytes());
        return;
      }
      try (Staging staging = new Staging(gpu)) {
        long dy = staging.channelsLast(in[0]);
        long x = staging.channelsLast(in[1]);
        Convolutions.of(gpu).backwardWeight(c, dy, x, out[0].address());
      }
    }
  }
}
