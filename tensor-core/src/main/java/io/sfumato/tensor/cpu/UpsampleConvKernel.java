// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Nearest doubling and the 3 x 3 convolution behind it, on contiguous NHWC images, as the
 * transposed convolution that {@link io.sfumato.tensor.ops.UpsampleConv2d} describes, and the
 * gradient of its weights.
 */
public final class UpsampleConvKernel {
  private static final int TAPS = 16;

  private UpsampleConvKernel() {}

  /** The floats of the kernel K for so many channels. */
  public static long kernelFloats(int in, int out) {
    return (long) TAPS * in * out;
  }

  /** The convolution of stride 2 by K that leads from the large picture's gradient to the small. */
  private static ConvGeometry geometry(int batch, int in, int h, int w, int out) {
    return ConvGeometry.of(batch, out, 2 * h, 2 * w, in, 4, 2, 1);
  }

  /**
   * The result {@code [batch, 2 h, 2 w, out]}.
   *
   * @param batch images
   * @param in input channels
   * @param h height of the input
   * @param w width of the input
   * @param out output channels
   * @param x address of the input {@code [batch, h, w, in]}
   * @param weight address of the weights {@code [out, in, 3, 3]}
   * @param cache where the packed weights may be kept
   * @param bias address of {@code out} floats, or 0
   * @param k address of {@link #kernelFloats}
   * @param y address of the result
   */
  public static void forward(
      int batch,
      int in,
      int h,
      int w,
      int out,
      long x,
      long weight,
      PackedWeights.Cache cache,
      long bias,
      long k,
      long y) {
    if (batch == 0) {
      return;
    }
    ConvPhases phases =
        new ConvPhases(
            new ConvPhases.ByTiles(Simd.provider().gemmTile()), geometry(batch, in, h, w, out));
    phases.run(
        phases.packed(
            cache,
            weight,
            to -> {
              kernel(in, out, weight, k);
              phases.packWeights(k, to);
            }),
        x,
        bias,
        y);
  }

  /** The gradient of the weights; operands as in {@link #forward}. */
  public static void backwardWeight(
      int batch, int in, int h, int w, int out, long x, long dy, long k, long dw) {
    Conv2dKernel.backwardWeight(geometry(batch, in, h, w, out), dy, x, k);
    forPairs(
        in,
        out,
        (i, o) -> {
          long from = k + 4L * TAPS * ((long) i * out + o);
          long to = dw + 36L * ((long) o * in + i);
          for (int s = 0; s < 3; s++) {
            for (int t = 0; t < 3; t++) {
              // w[s, t] is in K[2 - s, 2 - t] and its neighbours to the right and below
              long at = from + 4L * (4 * (2 - s) + 2 - t);
              float above = Memory.getFloat(at) + Memory.getFloat(at + 4);
              float below = Memory.getFloat(at + 16) + Memory.getFloat(at + 20);
              Memory.putFloat(to + 4L * (3 * s + t), above + below);
            }
          }
        });
  }

  /** Writes K [in, out, 4, 4]. */
  private static void kernel(int in, int out, long weight, long k) {
    forPairs(
        in,
        out,
        (i, o) -> {
          long from = weight + 36L * ((long) o * in + i);
          long to = k + 4L * TAPS * ((long) i * out + o);
          for (int s = 0; s < 4; s++) {
            for (int t = 0; t < 4; t++) {
              Memory.putFloat(to + 4L * (4 * s + t), sum(from, 2 - s, 2 - t));
            }
          }
        });
  }

  /** The sum of the taps (s, t) to (s + 1, t + 1) that there are. */
  private static float sum(long w, int s, int t) {
    float sum = 0;
    for (int a = Math.max(0, s); a <= Math.min(2, s + 1); a++) {
      for (int b = Math.max(0, t); b <= Math.min(2, t + 1); b++) {
        sum += Memory.getFloat(w + 4L * (3 * a + b));
      }
    }
    return sum;
  }

  /** Sees one pair of channels. */
  @FunctionalInterface
  private interface Pair {
    void at(int in, int out);
  }

  private static void forPairs(int in, int out, Pair body) {
    Parallel.forRange(
        in,
        Math.max(1, 1024 / Math.max(1, out)),
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            for (int o = 0; o < out; o++) {
              body.at(i, o);
            }
          }
        });
  }
}
