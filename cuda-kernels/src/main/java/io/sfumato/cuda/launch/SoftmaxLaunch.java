// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.Blocks.Lines;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.CumSum;
import io.sfumato.tensor.ops.LogSoftmax;
import io.sfumato.tensor.ops.LogSoftmaxBackward;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.SoftmaxBackward;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/** Ops along one axis that give lines of the same length: softmaxes and running sums. */
final class SoftmaxLaunch {
  private SoftmaxLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Softmax.class, new Lined<>("softmax", 32, Softmax::axis))
        .add(LogSoftmax.class, new Lined<>("log_softmax", 32, LogSoftmax::axis))
        .add(SoftmaxBackward.class, new Lined<>("softmax_backward", 16, SoftmaxBackward::axis))
        .add(
            LogSoftmaxBackward.class,
            new Lined<>("log_softmax_backward", 16, LogSoftmaxBackward::axis))
        .add(CumSum.class, cumsum());
  }

  /**
   * One of the four.
   *
   * @param name the kernels
   * @param most the elements that a thread holds at most
   * @param axis the op's axis
   */
  private record Lined<O extends Op>(String name, int most, ToIntFunction<O> axis)
      implements Kernel<O> {
    private static final int FEW = 8;
    private static final int THREADS = 256;
    private static final int MOST_THREADS = 512;

    @Override
    public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
      return in[0].rank() == 0 ? "needs an axis" : null;
    }

    @Override
    public void launch(O op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Layout layout = out[0].layout();
      Lines lines = Lines.of(layout, axis.applyAsInt(op));
      DType dtype = in[0].dtype();
      try (Staging staging = new Staging(gpu)) {
        long a = staging.ordered(in[0], layout);
        long b = in.length > 1 ? staging.ordered(in[1], layout) : a;
        if (lines.inner() == 1 && lines.n() <= (long) most * MOST_THREADS && dtype != DType.F64) {
          rows(gpu, dtype, a, b, out[0].address(), lines);
        } else {
          lines(gpu, dtype, a, b, out[0].address(), lines);
        }
      }
    }

    private void rows(Gpu gpu, DType dtype, long a, long b, long y, Lines lines) {
      long n = lines.n();
      int width = 16 / dtype.bytes();
      boolean vector = n % width == 0 && Blocks.multiples(16, a, b, y);
      boolean few = n <= FEW * 32;
      int each = few ? FEW : most;
      int across = Blocks.power(Blocks.ceil(n, each), few ? 1 : 32, MOST_THREADS);
      int down = Math.max(1, across <= 32 ? THREADS / across : 1);
      gpu.kernel("softmax", name + "_rows" + each + "_" + Types.suffix(dtype))
          .grid(Blocks.ceil(lines.count(), down))
          .block(across, down)
          .pointer(a)
          .pointer(b)
          .pointer(y)
          .i64(lines.count())
          .i32(n)
          .i32(vector ? 1 : 0)
          .run();
    }

    private void lines(Gpu gpu, DType dtype, long a, long b, long y, Lines lines) {
      int down = Blocks.power(Blocks.ceil(lines.n(), 4), 1, lines.inner() == 1 ? 512 : 16);
      int across = Math.max(1, THREADS / down);
      gpu.kernel("softmax", name + "_lines_" + Types.suffix(dtype))
          .grid(Blocks.ceil(lines.count(), across))
          .block(across, down)
          .pointer(a)
          .pointer(b)
          .pointer(y)
          .i64(lines.n())
          .i64(lines.inner())
          .i64(lines.count())
          .run();
    }
  }

  private static Kernel<CumSum> cumsum() {
    return (op, in, out) -> {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Layout layout = Layout.contiguous(in[0].shape());
      Lines lines = Lines.of(layout, op.axis());
      String suffix = ReduceLaunch.suffix(in[0].dtype());
      int reversed = op.reversed() ? 1 : 0;
      try (Staging staging = new Staging(gpu)) {
        long x = staging.rowMajor(in[0]);
        if (lines.inner() == 1 && lines.n() > 32) {
          gpu.kernel("statistics", "cumsum_row_" + suffix)
              .grid(lines.count())
              .block(256)
              .pointer(x)
              .pointer(out[0])
              .i64(lines.n())
              .i32(reversed)
              .run();
        } else {
          gpu.kernel("statistics", "cumsum_column_" + suffix)
              .grid(Blocks.ceil(lines.count(), 128))
              .block(128)
              .pointer(x)
              .pointer(out[0])
              .i64(lines.n())
              .i64(lines.inner())
              .i64(lines.count())
              .i32(reversed)
              .run();
        }
      }
    };
  }
}
