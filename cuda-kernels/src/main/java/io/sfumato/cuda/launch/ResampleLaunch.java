// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.AdaptiveAvgPool2d;
import io.sfumato.tensor.ops.AvgPool2d;
import io.sfumato.tensor.ops.MaxPool2d;
import io.sfumato.tensor.ops.ResampleBackward;
import io.sfumato.tensor.ops.Resampling;
import io.sfumato.tensor.ops.UpsampleBilinear;
import io.sfumato.tensor.ops.UpsampleNearest;
import org.jspecify.annotations.Nullable;

/** Resampling and pooling, in the memory order of the result, in one pass over all axes. */
final class ResampleLaunch {
  private static final int THREADS = 256;
  private static final int SPATIAL = 3;

  private ResampleLaunch() {}

  static KernelTable addTo(KernelTable table) {
    Kernel<Resampling> forward = forward();
    return table
        .add(UpsampleNearest.class, nearest())
        .add(UpsampleBilinear.class, forward)
        .add(AvgPool2d.class, forward)
        .add(AdaptiveAvgPool2d.class, forward)
        .add(ResampleBackward.class, backward())
        .add(MaxPool2d.class, new Maximum());
  }

  // ---- struct Axes

  private enum Mode {
    SAME,
    NEAREST,
    LINEAR,
    ALIGNED,
    WINDOW,
    WINDOW_INSIDE,
    ADAPTIVE
  }

  private static final int WORDS = 5; // of an axis

  private static void axis(
      long[] words, int at, Mode mode, int in, int out, int kernel, int stride, int padding) {
    double scale =
        switch (mode) {
          case ALIGNED -> out > 1 ? (in - 1.0) / (out - 1) : 0;
          case NEAREST -> (float) in / out;
          default -> (double) in / out;
        };
    double back = mode == Mode.ALIGNED && in == 1 ? 0 : scale == 0 ? 0 : 1 / scale;
    words[at * WORDS] = mode.ordinal() | (long) in << 32;
    words[at * WORDS + 1] = out | (long) kernel << 32;
    words[at * WORDS + 2] = stride | (long) padding << 32;
    words[at * WORDS + 3] = Double.doubleToRawLongBits(scale);
    words[at * WORDS + 4] = Double.doubleToRawLongBits(back);
  }

  /** The axes of a forward op, from the shape of its input to that of its output. */
  private static long[] axes(Resampling op, Shape in, Shape out) {
    long[] words = new long[SPATIAL * WORDS];
    int spatial = op.spatial();
    for (int i = 0; i < SPATIAL - spatial; i++) {
      axis(words, i, Mode.SAME, 1, 1, 1, 1, 0);
    }
    for (int i = 0; i < spatial; i++) {
      int kernel = 1;
      int stride = 1;
      int padding = 0;
      Mode mode =
          switch (op) {
            case UpsampleNearest u -> Mode.NEAREST;
            case UpsampleBilinear u -> u.alignCorners() ? Mode.ALIGNED : Mode.LINEAR;
            case AdaptiveAvgPool2d a -> Mode.ADAPTIVE;
            case AvgPool2d p -> p.countIncludePad() ? Mode.WINDOW : Mode.WINDOW_INSIDE;
          };
      if (op instanceof AvgPool2d p) {
        kernel = p.kernel().get(i);
        stride = p.stride().get(i);
        padding = p.padding().get(i);
      }
      int at = SPATIAL - spatial + i;
      axis(words, at, mode, in.dim(2 + i), out.dim(2 + i), kernel, stride, padding);
    }
    return words;
  }

  // ---- launches

  private static long input(Staging staging, Tensor x, boolean rowMajor) {
    return rowMajor ? staging.rowMajor(x) : staging.channelsLast(x);
  }

  private static long blocks(Gpu gpu, long units) {
    return Math.min(Blocks.ceil(units, THREADS), 64L * gpu.multiprocessors());
  }

  private static Kernel<UpsampleNearest> nearest() {
    return (op, in, out) -> {
      Tensor y = out[0];
      if (y.numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(y);
      boolean rowMajor = y.layout().isContiguous();
      try (Staging staging = new Staging(gpu)) {
        long x = input(staging, in[0], rowMajor);
        long row = (rowMajor ? 1L : y.dim(1)) * y.dtype().bytes();
        int unit = 16;
        while (!Blocks.multiples(unit, row, x, y.address())) {
          unit /= 2;
        }
        long total = y.numel() * y.dtype().bytes() / unit;
        gpu.kernel("resample", "nearest_" + unit)
            .grid(blocks(gpu, total))
            .block(THREADS)
            .pointer(x)
            .pointer(y)
            .longs(axes(op, in[0].shape(), y.shape()))
            .i64(row / unit)
            .i64(total)
            .run();
      }
    };
  }

  private static Kernel<Resampling> forward() {
    return (op, in, out) ->
        sum("resample_", axes(op, in[0].shape(), out[0].shape()), in[0], out[0]);
  }

  private static Kernel<ResampleBackward> backward() {
    return (op, in, out) ->
        sum("resample_backward_", axes(op.forward(), out[0].shape(), in[0].shape()), in[0], out[0]);
  }

  private static void sum(String name, long[] axes, Tensor from, Tensor y) {
    if (y.numel() == 0) {
      return;
    }
    Gpu gpu = Gpu.of(y);
    DType dtype = y.dtype();
    boolean rowMajor = y.layout().isContiguous();
    try (Staging staging = new Staging(gpu)) {
      long x = input(staging, from, rowMajor);
      long inner = rowMajor ? 1 : y.dim(1);
      int width = 16 / dtype.bytes();
      boolean vector = inner % width == 0 && Blocks.multiples(16, x, y.address());
      long total = y.numel() / (vector ? width : 1);
      gpu.kernel("resample", name + Types.suffix(dtype))
          .grid(blocks(gpu, total))
          .block(THREADS)
          .pointer(x)
          .pointer(y)
          .longs(axes)
          .i64(inner)
          .i64(total)
          .i32(vector ? 1 : 0)
          .run();
    }
  }

  /** {@link MaxPool2d}: values, and their places in the plane. */
  private static final class Maximum implements Kernel<MaxPool2d> {
    @Override
    public @Nullable String refuse(MaxPool2d op, Tensor[] in, Tensor[] out) {
      return out[0].layout().sameStrides(out[1].layout()) ? null : "needs results of one order";
    }

    @Override
    public void launch(MaxPool2d op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      if (y.numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(y);
      boolean rowMajor = y.layout().isContiguous();
      long[] words = new long[SPATIAL * WORDS];
      axis(words, 0, Mode.SAME, 1, 1, 1, 1, 0);
      for (int i = 0; i < 2; i++) {
        int kernel = op.kernel().get(i);
        int stride = op.stride().get(i);
        int padding = op.padding().get(i);
        axis(words, 1 + i, Mode.WINDOW, in[0].dim(2 + i), y.dim(2 + i), kernel, stride, padding);
      }
      try (Staging staging = new Staging(gpu)) {
        gpu.kernel("resample", "max_pool_" + Types.suffix(y.dtype()))
            .grid(blocks(gpu, y.numel()))
            .block(THREADS)
            .pointer(input(staging, in[0], rowMajor))
            .pointer(y)
            .pointer(out[1])
            .longs(words)
            .i32(op.dilation().get(0))
            .i32(op.dilation().get(1))
            .i64(rowMajor ? 1 : y.dim(1))
            .i64(y.numel())
            .run();
      }
    }
  }
}
