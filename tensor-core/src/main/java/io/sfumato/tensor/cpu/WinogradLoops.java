// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The transforms of the minimal filtering algorithm F(2x2, 3x3): a 3 x 3 convolution of stride 1
 * makes 2 x 2 outputs from a 4 x 4 patch of its input with 16 products per pair of channels instead
 * of 36 (Winograd; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015),
 *
 * <pre>
 *   Y = A' [(G g G') * (B' d B)] A            d the patch, g the filter, * element by element
 *
 *        1  0 -1  0         1   0   0          1  1  1  0
 *   B' = 0  1  1  0    G =  .5  .5  .5    A' = 0  1 -1  1
 *        0 -1  1  0         .5 -.5  .5
 *        0 -1  0  1         0   0   1
 * </pre>
 *
 * <p>All loops run over channels. Operands are absolute addresses of floats, strides count floats.
 * Element {@code (r, s)} of a transformed 4 x 4 matrix lies {@code (4 r + s) * step} floats behind
 * element (0, 0). Nothing is checked.
 */
public interface WinogradLoops {
  /**
   * The sum or the difference of two rows of pixels, {@code to[p, c] = a[p, c] ± b[p, c]}.
   *
   * @param add whether the rows are added, else {@code b} is taken from {@code a}
   * @param pixels pixels of a row
   * @param channels channels of a pixel
   * @param a address of row a
   * @param strideA floats between its pixels
   * @param b address of row b
   * @param strideB floats between its pixels
   * @param to address of the result
   * @param toStride floats between its pixels
   */
  void combine(
      boolean add,
      int pixels,
      int channels,
      long a,
      long strideA,
      long b,
      long strideB,
      long to,
      long toStride);

  /**
   * One row {@code t B} of the transformed patches of neighbouring tiles, whose {@code t} overlap
   * by two pixels.
   *
   * @param tiles the number of tiles
   * @param channels channels of a pixel, a multiple of the vector length
   * @param t address of the first pixel of the first tile
   * @param pixel floats between pixels
   * @param to address of the first result
   * @param width floats between results
   * @param step floats between the elements of a result
   */
  void inputColumns(int tiles, int channels, long t, long pixel, long to, long width, long step);

  /**
   * One row {@code t A'} of the transformed output gradients of neighbouring tiles.
   *
   * @param tiles the number of tiles
   * @param channels channels of a pixel, a multiple of the vector length
   * @param t address of the first pixel of the first tile
   * @param pixel floats between pixels
   * @param to address of the first result
   * @param width floats between results
   * @param step floats between the elements of a result
   */
  void gradientColumns(int tiles, int channels, long t, long pixel, long to, long width, long step);

  /**
   * One column of {@code u = A' m}, for the elements of a column {@code m} of many tiles: {@code u0
   * = m0 + m1 + m2} and {@code u1 = m1 - m2 + m3}.
   *
   * @param n floats of an element, a multiple of the vector length
   * @param m address of the four elements
   * @param step floats between them
   * @param u0 address of the first result
   * @param u1 address of the second result
   */
  void outputRows(int n, long m, long step, long u0, long u1);

  /**
   * One row of output pixels of neighbouring tiles, {@code u A + bias}.
   *
   * @param tiles the number of tiles
   * @param channels channels of a pixel
   * @param u address of the four elements of the first tile, each padded to whole vectors
   * @param width floats between tiles
   * @param step floats between elements
   * @param bias address of the bias
   * @param y0 address of the left pixel of the first tile
   * @param y1 address of its right pixel
   * @param stride floats from a tile's pixels to the next tile's
   */
  void outputColumns(
      int tiles,
      int channels,
      long u,
      long width,
      long step,
      long bias,
      long y0,
      long y1,
      long stride);

  /**
   * Transformed filters, {@code G g G'}.
   *
   * @param taps address of the nine taps, each {@code n} floats
   * @param tapStep floats between taps
   * @param n the number of filters, a multiple of the vector length
   * @param to address of the results
   * @param step floats between the elements of a result
   */
  void weights(long taps, long tapStep, int n, long to, long step);

  /**
   * Gradients of filters from those of transformed filters, {@code G' m G}.
   *
   * @param m address of the 4 x 4 matrices
   * @param step floats between the elements of a matrix
   * @param n the number of filters, a multiple of the vector length
   * @param taps address of the nine results, each {@code n} floats
   * @param tapStep floats between taps
   */
  void weightGradient(long m, long step, int n, long taps, long tapStep);
}
