// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Conv2dKernel;
import io.sfumato.tensor.cpu.ConvGeometry;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.PackedWeights;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Conv3d;
import io.sfumato.tensor.ops.Conv3dBackwardInput;
import io.sfumato.tensor.ops.Conv3dBackwardWeight;
import io.sfumato.tensor.ops.ConvOptions;
import org.jspecify.annotations.Nullable;

/**
 * Convolutions over volumes as sums of convolutions over images, one for each tap of the kernel
 * along the depth. Each needs a pass over the output to add it, which a convolution of its own
 * would save.
 */
public final class Conv3dLaunch {
  private static final int BLOCK = 1 << 14;

  private Conv3dLaunch() {}

  /** The convolution. */
  public static final class Forward implements Kernel<Conv3d> {
    @Override
    public @Nullable String refuse(Conv3d op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Conv3d op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        Taps taps = new Taps(op.options(), in[0].shape(), in[1].shape(), out[0].shape());
        long x = staging.channelsLast(in[0]);
        long y = out[0].address();
        long w = taps.splitWeights(staging, in[1]);
        long part = staging.allocate(4 * taps.outImage() * taps.outDepth());
        Memory.zero(y, out[0].spec().bytes());
        taps.forEach(
            (tap, xs, ys, images) -> {
              long n = images * taps.outImage();
              Conv2dKernel.forward(
                  taps.images(images),
                  x + 4 * xs,
                  w + 4 * tap * taps.tapWeights(),
                  PackedWeights.Cache.NONE,
                  0,
                  part);
              add(n, part, y + 4 * ys);
            });
        if (op.bias()) {
          addBias(staging.rowMajor(in[2]), y, out[0].dim(1), out[0].numel());
        }
      }
    }
  }

  /** The gradient of the input. */
  public static final class BackwardInput implements Kernel<Conv3dBackwardInput> {
    @Override
    public @Nullable String refuse(Conv3dBackwardInput op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Conv3dBackwardInput op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        Taps taps = new Taps(op.options(), out[0].shape(), in[1].shape(), in[0].shape());
        long dy = staging.channelsLast(in[0]);
        long dx = out[0].address();
        long w = taps.splitWeights(staging, in[1]);
        long part = staging.allocate(4 * taps.inImage() * taps.outDepth());
        Memory.zero(dx, out[0].spec().bytes());
        taps.forEach(
            (tap, xs, ys, images) -> {
              long n = images * taps.inImage();
              Conv2dKernel.backwardInput(
                  taps.images(images),
                  dy + 4 * ys,
                  w + 4 * tap * taps.tapWeights(),
                  PackedWeights.Cache.NONE,
                  part);
              add(n, part, dx + 4 * xs);
            });
      }
    }
  }

  /** The gradient of the weight. */
  public static final class BackwardWeight implements Kernel<Conv3dBackwardWeight> {
    @Override
    public @Nullable String refuse(Conv3dBackwardWeight op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Conv3dBackwardWeight op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        Taps taps = new Taps(op.options(), in[1].shape(), out[0].shape(), in[0].shape());
        long dy = staging.channelsLast(in[0]);
        long x = staging.channelsLast(in[1]);
        long part = staging.allocate(4 * taps.tapWeights());
        long sums = staging.allocate(out[0].spec().bytes());
        Memory.zero(sums, out[0].spec().bytes());
        taps.forEach(
            (tap, xs, ys, images) -> {
              Conv2dKernel.backwardWeight(taps.images(images), x + 4 * xs, dy + 4 * ys, part);
              long n = taps.tapWeights();
              add(n, part, sums + 4 * tap * n);
            });
        StridedCopy.copy(4, sums, taps.split(), out[0].address(), out[0].layout());
      }
    }
  }

  private static void addBias(long bias, long y, int channels, long n) {
    int pixels = Math.toIntExact(n / channels);
    Parallel.forRange(
        pixels,
        Math.max(1, BLOCK / channels),
        (begin, end, worker) ->
            Simd.provider()
                .gemmTile()
                .addRows(end - begin, channels, bias, 0, y + 4L * begin * channels, channels));
  }

  private static void add(long n, long from, long to) {
    int blocks = Math.toIntExact((n + BLOCK - 1) / BLOCK);
    Parallel.forRange(
        blocks,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            long at = (long) i * BLOCK;
            int size = (int) Math.min(BLOCK, n - at);
            Simd.provider().gemmTile().addRows(1, size, from + 4 * at, 0, to + 4 * at, 0);
          }
        });
  }

  /** Sees a run of images that one tap maps from neighbouring inputs to neighbouring outputs. */
  @FunctionalInterface
  private interface Run {
    /**
     * Handles one run.
     *
     * @param tap the tap along the depth
     * @param input offset of the first input image, in elements
     * @param output offset of the first output image, in elements
     * @param images the number of images
     */
    void accept(int tap, long input, long output, int images);
  }

  /** The taps along the depth of one convolution. */
  private record Taps(ConvOptions options, Shape x, Shape w, Shape y) {
    long inImage() {
      return (long) x.dim(1) * x.dim(3) * x.dim(4);
    }

    long outImage() {
      return (long) y.dim(1) * y.dim(3) * y.dim(4);
    }

    int outDepth() {
      return y.dim(2);
    }

    long tapWeights() {
      return w.numel() / w.dim(2);
    }

    /** The weights as [kd, out, in/groups, kh, kw]: their layout seen as [out, in, kd, kh, kw]. */
    Layout split() {
      return Layout.ordered(w, 2, 0, 1, 3, 4);
    }

    long splitWeights(Staging staging, Tensor weight) {
      return staging.ordered(weight, split());
    }

    ConvGeometry images(int batch) {
      return new ConvGeometry(
          batch,
          x.dim(1),
          x.dim(3),
          x.dim(4),
          w.dim(0),
          w.dim(3),
          w.dim(4),
          options.stride().get(1),
          options.stride().get(2),
          options.before().get(1),
          options.before().get(2),
          options.after().get(1),
          options.after().get(2),
          options.dilation().get(1),
          options.dilation().get(2),
          options.groups());
    }

    void forEach(Run body) {
      int stride = options.stride().get(0);
      for (int tap = 0; tap < w.dim(2); tap++) {
        int shift = tap * options.dilation().get(0) - options.before().get(0);
        for (int n = 0; n < x.dim(0); n++) {
          int first = Math.max(0, Math.ceilDiv(-shift, stride));
          int last = Math.min(y.dim(2) - 1, Math.floorDiv(x.dim(2) - 1 - shift, stride));
          int step = stride == 1 ? Math.max(1, last - first + 1) : 1;
          for (int d = first; d <= last; d += step) {
            long input = ((long) n * x.dim(2) + d * stride + shift) * inImage();
            body.accept(tap, input, ((long) n * y.dim(2) + d) * outImage(), step);
          }
        }
      }
    }
  }
}
