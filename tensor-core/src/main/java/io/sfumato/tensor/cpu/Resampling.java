// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Factor-two resampling of channels-last f32 images [batch, height, width, channels], on all
 * threads.
 */
public final class Resampling {
  private Resampling() {}

  /**
   * Nearest-neighbour doubling: {@code y[n, i, j, c] = x[n, i/2, j/2, c]}.
   *
   * @param x images [batch, height, width, channels]
   * @param y result [batch, 2 height, 2 width, channels]
   * @param batch number of images
   * @param height rows of x
   * @param width columns of x
   * @param channels numbers per pixel
   */
  public static void nearestTwice(long x, long y, int batch, int height, int width, int channels) {
    spread(x, y, batch, height, width, channels, 1f);
  }

  /** The gradient of {@link #nearestTwice}: dx is the sum over each 2x2 cell of dy. */
  public static void nearestTwiceBackward(
      long dy, long dx, int batch, int height, int width, int channels) {
    gather(dy, dx, batch, height, width, channels, 1f);
  }

  /**
   * Mean over 2x2 cells.
   *
   * @param x images [batch, 2 height, 2 width, channels]
   * @param y result [batch, height, width, channels]
   * @param batch number of images
   * @param height rows of y
   * @param width columns of y
   * @param channels numbers per pixel
   */
  public static void averageHalf(long x, long y, int batch, int height, int width, int channels) {
    gather(x, y, batch, height, width, channels, 0.25f);
  }

  /** The gradient of {@link #averageHalf}: each pixel of a 2x2 cell of dx gets dy / 4. */
  public static void averageHalfBackward(
      long dy, long dx, int batch, int height, int width, int channels) {
    spread(dy, dx, batch, height, width, channels, 0.25f);
  }

  private static void spread(
      long x, long y, int batch, int height, int width, int channels, float factor) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    long pixel = channels * 4L;
    long row = width * pixel;
    Parallel.forRange(
        batch * height,
        Loops.rowGrain(4 * width * channels),
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long from = x + r * row;
            long to = y + r * 4L * row;
            for (int j = 0; j < width; j++) {
              long at = to + 2 * j * pixel;
              loops.binaryRight(BinaryOp.MUL, from + j * pixel, factor, at, channels);
              Memory.copy(at, at + pixel, pixel);
            }
            Memory.copy(to, to + 2 * row, 2 * row);
          }
        });
  }

  private static void gather(
      long x, long y, int batch, int height, int width, int channels, float factor) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    long pixel = channels * 4L;
    long row = width * pixel;
    Parallel.forRange(
        batch * height,
        Loops.rowGrain(4 * width * channels),
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            for (int j = 0; j < width; j++) {
              long a = x + r * 4L * row + 2 * j * pixel;
              long c = a + 2 * row;
              long to = y + r * row + j * pixel;
              loops.sumOfFour(factor, a, a + pixel, c, c + pixel, to, channels);
            }
          }
        });
  }
}
