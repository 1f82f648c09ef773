// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.guides;

import io.sfumato.cuda.CudaBackend;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Kernel;
import org.jspecify.annotations.Nullable;

// @start region="launch"
/** How the kernels of snake.cu are launched. */
final class SnakeKernels {
  private static final int THREADS = 256;

  private SnakeKernels() {}

  /** Tells a device of them, once, before the op is run there. */
  static void addTo(Device device) {
    ((CudaBackend) Backends.of(device))
        .kernels()
        .add(Snake.class, new Forward())
        .add(Snake.Gradient.class, new Backward());
  }

  /**
   * Why a case is left to the reference on the CPU, with copies there and back; null: it is not.
   */
  private static @Nullable String refuse(Tensor... all) {
    for (Tensor t : all) {
      if (t.dtype() != DType.F32 || !t.layout().isContiguous()) {
        return "takes row-major f32";
      }
    }
    return null;
  }

  private static final class Forward implements Kernel<Snake> {
    @Override
    public @Nullable String refuse(Snake op, Tensor[] in, Tensor[] out) {
      return SnakeKernels.refuse(in);
    }

    @Override
    public void launch(Snake op, Tensor[] in, Tensor[] out) {
      long n = in[0].numel();
      if (n > 0) { // a grid has at least one block
        Gpu.of(in[0])
            .kernel("snake", "snake_f32") // file, function
            .grid((n + THREADS - 1) / THREADS)
            .block(THREADS)
            .pointer(in[0])
            .pointer(in[1])
            .pointer(out[0])
            .i64(n)
            .i32(in[1].dim(0))
            .run(); // does not wait
      }
    }
  }

  private static final class Backward implements Kernel<Snake.Gradient> {
    @Override
    public @Nullable String refuse(Snake.Gradient op, Tensor[] in, Tensor[] out) {
      return in[1].dim(0) == 0 ? "takes a channel or more" : SnakeKernels.refuse(in);
    }

    @Override
    public void launch(Snake.Gradient op, Tensor[] in, Tensor[] out) {
      Gpu.of(in[0])
          .kernel("snake", "snake_backward_f32")
          .grid(in[1].dim(0))
          .block(THREADS)
          .pointer(in[0])
          .pointer(in[1])
          .pointer(in[2])
          .pointer(out[0])
          .pointer(out[1])
          .i32(in[0].dim(0))
          .i32(in[1].dim(0))
          .run();
    }
  }
}
// @end
