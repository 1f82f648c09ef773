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
   * One row of {@code B' d B}: the difference, or the sum, {@code t} of two rows of the patch, then
   * {@code t B}.
   *
   * @param add whether the rows are added, else {@code b} is taken from {@code a}
   * @param a0 address of the first pixel of row {@code a}; the other three follow
   * @param b0 address of the first pixel of row {@code b}
   * @param channels the channels of a pixel
   * @param to address of the result's four elements; each is written to whole vectors
   * @param step floats between elements
   */
  void inputRow(
      boolean add,
      long a0,
      long a1,
      long a2,
      long a3,
      long b0,
      long b1,
      long b2,
      long b3,
      int channels,
      long to,
      long step);

  /**
   * One row of {@code A dY A'}: the difference, or the sum, {@code t} of two rows of an output
   * gradient, then {@code t A'}.
   *
   * @param add whether the rows are added, else {@code b} is taken from {@code a}
   * @param a0 address of the first pixel of row {@code a}
   * @param a1 address of its second pixel
   * @param b0 address of the first pixel of row {@code b}
   * @param b1 address of its second pixel
   * @param channels the channels of a pixel
   * @param to address of the result's four elements; each is written to whole vectors
   * @param step floats between elements
   */
  void gradientRow(
      boolean add, long a0, long a1, long b0, long b1, int channels, long to, long step);

  /**
   * Four output pixels, {@code Y = A' m A + bias}.
   *
   * @param m address of the 4 x 4 matrix; each element is read to whole vectors
   * @param step floats between its elements
   * @param bias address of the bias
   * @param channels the channels of a pixel
   * @param y00 address of the upper left pixel
   * @param y01 address of the upper right pixel
   * @param y10 address of the lower left pixel
   * @param y11 address of the lower right pixel
   */
  void output(long m, long step, long bias, int channels, long y00, long y01, long y10, long y11);

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
