// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.AvgPool2d;
import io.sfumato.tensor.ops.AxisCopy;
import io.sfumato.tensor.ops.MaxPool2d;
import io.sfumato.tensor.ops.PadBackward;
import io.sfumato.tensor.ops.ResampleBackward;
import io.sfumato.tensor.ops.Resampling;
import io.sfumato.tensor.ops.UpsampleNearest;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Resampling and pooling; twofold and channels-last in one pass, else axis by axis. */
public final class ResamplingLaunch {
  private ResamplingLaunch() {}

  /** {@link UpsampleNearest}: copies, of any type. */
  public static Kernel<UpsampleNearest> nearest() {
    return (op, in, out) -> {
      int[][] sources = AxisCopy.unmoved(in[0].shape());
      for (int k = 0; k < op.spatial(); k++) {
        sources[2 + k] = op.weights(k, in[0].dim(2 + k)).source();
      }
      ShapingLaunch.copy(in[0], out[0], sources, 0);
    };
  }

  /** Any other {@link Resampling} of f32. */
  public static final class Forward implements Kernel<Resampling> {
    @Override
    public @Nullable String refuse(Resampling op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Resampling op, Tensor[] in, Tensor[] out) {
      Tensor x = in[0];
      Tensor y = out[0];
      if (op instanceof AvgPool2d pool && halves(pool, x.shape()) && channelsLast(x, y)) {
        io.sfumato.tensor.cpu.Resampling.averageHalf(
            x.address(), y.address(), y.dim(0), y.dim(2), y.dim(3), y.dim(1));
        return;
      }
      Passes passes = new Passes(x, y);
      for (int k = 0; k < op.spatial(); k++) {
        passes.add(2 + k, op.weights(k, x.dim(2 + k)));
      }
      passes.run(x, y);
    }
  }

  /** {@link ResampleBackward} of f32. */
  public static final class Backward implements Kernel<ResampleBackward> {
    @Override
    public @Nullable String refuse(ResampleBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(ResampleBackward op, Tensor[] in, Tensor[] out) {
      Tensor g = in[0];
      Tensor dx = out[0];
      if (channelsLast(g, dx) && op.forward() instanceof UpsampleNearest up && doubles(up, dx)) {
        io.sfumato.tensor.cpu.Resampling.nearestTwiceBackward(
            g.address(), dx.address(), dx.dim(0), dx.dim(2), dx.dim(3), dx.dim(1));
        return;
      }
      if (channelsLast(g, dx) && op.forward() instanceof AvgPool2d p && halves(p, dx.shape())) {
        io.sfumato.tensor.cpu.Resampling.averageHalfBackward(
            g.address(), dx.address(), g.dim(0), g.dim(2), g.dim(3), g.dim(1));
        return;
      }
      Passes passes = new Passes(g, dx);
      for (int k = 0; k < op.size().size(); k++) {
        int size = op.size().get(k);
        passes.add(2 + k, op.forward().weights(k, size).transpose(size));
      }
      passes.run(g, dx);
    }
  }

  /** {@link PadBackward} of f32. */
  public static final class Padding implements Kernel<PadBackward> {
    @Override
    public @Nullable String refuse(PadBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(PadBackward op, Tensor[] in, Tensor[] out) {
      Passes passes = new Passes(in[0], out[0]);
      for (int axis = 0; axis < in[0].rank(); axis++) {
        passes.add(axis, op.weights(axis));
      }
      passes.run(in[0], out[0]);
    }
  }

  private static boolean channelsLast(Tensor a, Tensor b) {
    return a.layout().isChannelsLast() && b.layout().isChannelsLast();
  }

  private static boolean doubles(UpsampleNearest op, Tensor x) {
    return x.rank() == 4 && op.size().equals(List.of(2 * x.dim(2), 2 * x.dim(3)));
  }

  private static boolean halves(AvgPool2d op, Shape x) {
    List<Integer> two = List.of(2, 2);
    return op.kernel().equals(two)
        && op.stride().equals(two)
        && op.padding().equals(List.of(0, 0))
        && x.dim(2) % 2 == 0
        && x.dim(3) % 2 == 0;
  }

  /** {@link MaxPool2d} of f32; each element searches its window. */
  public static final class Maximum implements Kernel<MaxPool2d> {
    @Override
    public @Nullable String refuse(MaxPool2d op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(new Tensor[] {in[0]}, new Tensor[] {out[0]});
    }

    @Override
    public void launch(MaxPool2d op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      boolean channelsLast = !y.layout().isContiguous();
      int[] dims = Passes.dims(y.shape(), channelsLast);
      int row = dims[3];
      Parallel.forRange(
          Passes.product(dims, 0, 3),
          Math.max(1, 1024 / row),
          (begin, end, worker) -> {
            for (int r = begin; r < end; r++) {
              int a = r / dims[2] % dims[1];
              int b = r % dims[2];
              for (int c = 0; c < row; c++) {
                long to = (long) r * row + c;
                int n = r / dims[2] / dims[1];
                if (channelsLast) {
                  search(op, in[0], n, c, a, b, y.address() + 4 * to, out[1].address() + 8 * to);
                } else {
                  search(op, in[0], n, a, b, c, y.address() + 4 * to, out[1].address() + 8 * to);
                }
              }
            }
          });
    }

    private static void search(
        MaxPool2d op, Tensor x, int n, int c, int i, int j, long value, long index) {
      int h = x.dim(2);
      int w = x.dim(3);
      long rows = x.layout().stride(2);
      long columns = x.layout().stride(3);
      long plane = x.address() + 4 * (n * x.layout().stride(0) + c * x.layout().stride(1));
      int top = i * op.stride().get(0) - op.padding().get(0);
      int left = j * op.stride().get(1) - op.padding().get(1);
      float best = 0;
      int at = -1;
      for (int a = 0; a < op.kernel().get(0); a++) {
        int row = top + a * op.dilation().get(0);
        for (int b = 0; b < op.kernel().get(1); b++) {
          int column = left + b * op.dilation().get(1);
          if (row >= 0 && row < h && column >= 0 && column < w) {
            float v = Memory.getFloat(plane + 4 * (row * rows + column * columns));
            if (at < 0 || MaxPool2d.beats(v, best)) {
              best = v;
              at = row * w + column;
            }
          }
        }
      }
      Memory.putFloat(value, best);
      Memory.putLong(index, at);
    }
  }
}
