// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.Blocks.Lines;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.BinaryCrossEntropy;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.CrossEntropyBackward;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.MseBackward;
import io.sfumato.tensor.ops.Reduction;

/** Losses: squared error, cross entropies. A gradient that is one number is read on the device. */
final class LossLaunch {
  private static final int THREADS = 256;

  private LossLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Mse.class, mse())
        .add(MseBackward.class, mseBackward())
        .add(BinaryCrossEntropy.class, binaryCrossEntropy())
        .add(CrossEntropy.class, crossEntropy())
        .add(CrossEntropyBackward.class, crossEntropyBackward());
  }

  private static double divisor(Reduction reduction, Tensor x) {
    return switch (reduction) {
      case NONE, SUM -> 1;
      case MEAN -> x.numel();
      case BATCH_MEAN -> x.dim(0);
    };
  }

  /** Blocks for n elements, 16 bytes per thread, as many as keep the device busy. */
  private static long blocks(Gpu gpu, DType dtype, long n) {
    long all = Blocks.ceil(n, (long) THREADS * 16 / dtype.bytes());
    return Math.max(1, Math.min(all, 16L * gpu.multiprocessors()));
  }

  private static Kernel<Mse> mse() {
    return (op, in, out) -> {
      Gpu gpu = Gpu.of(out[0]);
      DType dtype = in[0].dtype();
      long n = in[0].numel();
      boolean each = op.reduction() == Reduction.NONE;
      if (each && n == 0) {
        return;
      }
      Layout layout = each ? out[0].layout() : dense(in[0]);
      try (Staging staging = new Staging(gpu)) {
        long x = staging.ordered(in[0], layout);
        long target = staging.ordered(in[1], layout);
        if (each) {
          pointwise(gpu, "squared_error_", dtype, x, target, out[0].address(), n);
          return;
        }
        long blocks = Math.min(blocks(gpu, dtype, n), 4L * gpu.multiprocessors());
        long partial = staging.allocate(8 * blocks);
        gpu.kernel("losses", "squared_difference_" + Types.suffix(dtype))
            .grid(blocks)
            .block(THREADS)
            .pointer(x)
            .pointer(target)
            .pointer(partial)
            .i64(n)
            .i32(Blocks.multiples(16, x, target) ? 1 : 0)
            .run();
        gpu.kernel("losses", "loss_total_" + Types.suffix(dtype))
            .grid(1)
            .block(512)
            .pointer(partial)
            .pointer(out[0])
            .i64(blocks)
            .f64(1 / divisor(op.reduction(), in[0]))
            .run();
      }
    };
  }

  private static Layout dense(Tensor x) {
    return x.layout().isDense() ? x.layout().like(x.shape()) : Layout.contiguous(x.shape());
  }

  private static void pointwise(Gpu gpu, String name, DType dtype, long a, long b, long y, long n) {
    gpu.kernel("losses", name + Types.suffix(dtype))
        .grid(blocks(gpu, dtype, n))
        .block(THREADS)
        .pointer(a)
        .pointer(b)
        .pointer(y)
        .i64(n)
        .i32(Blocks.multiples(16, a, b, y) ? 1 : 0)
        .run();
  }

  private static Kernel<MseBackward> mseBackward() {
    return (op, in, out) -> {
      Gpu gpu = Gpu.of(out[0]);
      DType dtype = in[0].dtype();
      long n = in[0].numel();
      if (n == 0) {
        return;
      }
      boolean each = op.reduction() == Reduction.NONE;
      Layout layout = out[0].layout();
      try (Staging staging = new Staging(gpu)) {
        long x = staging.ordered(in[0], layout);
        long target = staging.ordered(in[1], layout);
        long g = each ? staging.ordered(in[2], layout) : in[2].address();
        long dx = out[0].address();
        gpu.kernel("losses", "squared_error_backward_" + Types.suffix(dtype))
            .grid(blocks(gpu, dtype, n))
            .block(THREADS)
            .pointer(x)
            .pointer(target)
            .pointer(g)
            .pointer(dx)
            .i64(n)
            .f64(2 / divisor(op.reduction(), in[0]))
            .i32(each ? 1 : 0)
            .i32(Blocks.multiples(16, x, target, dx) ? 1 : 0)
            .run();
      }
    };
  }

  private static Kernel<BinaryCrossEntropy> binaryCrossEntropy() {
    return (op, in, out) -> {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Layout layout = out[0].layout();
      try (Staging staging = new Staging(gpu)) {
        long x = staging.ordered(in[0], layout);
        long target = staging.ordered(in[1], layout);
        long y = out[0].address();
        pointwise(gpu, "binary_cross_entropy_", in[0].dtype(), x, target, y, out[0].numel());
      }
    };
  }

  // ---- cross entropy

  private static int classAxis(Tensor logits) {
    return logits.rank() == 1 ? 0 : 1;
  }

  /** The order of the positions, the logits' shape without the classes, in dense logits. */
  private static Layout positions(Layout logits, int axis) {
    long[] strides = new long[logits.shape().rank() - 1];
    long inner = Lines.of(logits, axis).inner();
    int classes = logits.shape().dim(axis);
    for (int i = 0; i < strides.length; i++) {
      long stride = logits.stride(i < axis ? i : i + 1);
      strides[i] = classes > 1 && stride >= inner * classes ? stride / classes : stride;
    }
    return Layout.of(logits.shape().without(axis), strides, 0);
  }

  /** Threads of a line, and lines of a block. */
  private static int[] block(Lines lines) {
    int down = Blocks.power(Blocks.ceil(lines.n(), 4), 1, lines.inner() == 1 ? 256 : 16);
    return new int[] {THREADS / down, down};
  }

  private static Kernel<CrossEntropy> crossEntropy() {
    return (op, in, out) -> {
      Gpu gpu = Gpu.of(out[0]);
      Tensor logits = in[0];
      String suffix = Types.suffix(logits.dtype());
      int axis = classAxis(logits);
      Layout own = dense(logits);
      boolean direct = positions(own, axis).isContiguous();
      Layout layout = direct ? own : Layout.contiguous(logits.shape());
      Lines lines = Lines.of(layout, axis);
      long count = in[1].numel();
      boolean each = op.reduction() == Reduction.NONE;
      if (each && count == 0) {
        return;
      }
      try (Staging staging = new Staging(gpu)) {
        long x = staging.ordered(logits, layout);
        long classes = staging.rowMajor(in[1]);
        long weights = in.length > 2 ? staging.rowMajor(in[2]) : 0;
        long losses = each ? 0 : staging.allocate(8 * count);
        if (count > 0) {
          int[] block = block(lines);
          gpu.kernel("losses", "cross_entropy_" + suffix)
              .grid(Blocks.ceil(count, block[0]))
              .block(block[0], block[1])
              .pointer(x)
              .pointer(classes)
              .pointer(weights)
              .pointer(losses)
              .pointer(each ? out[0].address() : 0)
              .i64(logits.dim(axis))
              .i64(lines.inner())
              .i64(count)
              .i64(op.ignoreIndex())
              .f64(op.labelSmoothing())
              .pointer(gpu.errorWord())
              .run();
        }
        if (!each) {
          boolean mean = op.reduction() == Reduction.MEAN;
          gpu.kernel("losses", "cross_entropy_total_" + suffix)
              .grid(1)
              .block(512)
              .pointer(losses)
              .pointer(classes)
              .pointer(weights)
              .pointer(out[0])
              .i64(logits.dim(axis))
              .i64(count)
              .i64(op.ignoreIndex())
              .f64(mean ? -1 : divisor(op.reduction(), in[1]))
              .run();
        }
      }
    };
  }

  private static Kernel<CrossEntropyBackward> crossEntropyBackward() {
    return (op, in, out) -> {
      CrossEntropy forward = op.forward();
      Tensor logits = in[0];
      long count = in[1].numel();
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      String suffix = Types.suffix(logits.dtype());
      int axis = classAxis(logits);
      Layout layout = out[0].layout();
      Layout positions = positions(layout, axis);
      Lines lines = Lines.of(layout, axis);
      boolean each = forward.reduction() == Reduction.NONE;
      boolean mean = forward.reduction() == Reduction.MEAN;
      try (Staging staging = new Staging(gpu)) {
        long x = staging.ordered(logits, layout);
        long classes = staging.ordered(in[1], positions);
        long g = each ? staging.ordered(in[2], positions) : in[2].address();
        long weights = in.length > 3 ? staging.rowMajor(in[3]) : 0;
        long counted = mean ? staging.allocate(8) : 0;
        if (mean) {
          gpu.kernel("losses", "cross_entropy_counted_" + suffix)
              .grid(1)
              .block(512)
              .pointer(classes)
              .pointer(weights)
              .pointer(counted)
              .i64(logits.dim(axis))
              .i64(count)
              .i64(forward.ignoreIndex())
              .run();
        }
        int[] block = block(lines);
        gpu.kernel("losses", "cross_entropy_backward_" + suffix)
            .grid(Blocks.ceil(count, block[0]))
            .block(block[0], block[1])
            .pointer(x)
            .pointer(classes)
            .pointer(g)
            .pointer(weights)
            .pointer(counted)
            .pointer(out[0])
            .i64(logits.dim(axis))
            .i64(lines.inner())
            .i64(count)
            .i64(forward.ignoreIndex())
            .f64(forward.labelSmoothing())
            .f64(mean ? 1 : divisor(forward.reduction(), in[1]))
            .i32(each ? 1 : 0)
            .pointer(gpu.errorWord())
            .run();
      }
    };
  }
}
