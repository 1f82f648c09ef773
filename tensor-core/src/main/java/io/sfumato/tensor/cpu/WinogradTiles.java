// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The tiles of a Winograd convolution, see {@link WinogradLoops}: 2 x 2 outputs each, counted along
 * the rows of an image, then down, then over the images. What lies outside the input, and outputs
 * that odd sizes leave out, are read as zeros.
 *
 * @param loops the transforms
 * @param w the sizes of the convolution
 * @param zeros address of as many zeros as an input pixel, or an output pixel, has channels
 */
record WinogradTiles(WinogradLoops loops, ConvWindow w, long zeros) {
  /**
   * Products per output of a Winograd convolution, with what its transforms cost, over the products
   * per output of the direct one, from which on it does not pay.
   */
  private static final double MAX_COST = 0.8;

  /** Channels below which the transforms cost more than the products they save. */
  private static final int MIN_CHANNELS = 16;

  /** Tiles below which transforming the filters costs more than it saves. */
  private static final int MIN_TILES = 16;

  /**
   * Whether a convolution can be computed so, and is faster than directly: the filters are 3 x 3
   * without stride, dilation or groups, there are enough channels and tiles, and few tiles stick
   * out of odd images.
   */
  static boolean pay(ConvWindow w) {
    if (w.kH() != 3
        || w.kW() != 3
        || w.strideH() != 1
        || w.strideW() != 1
        || w.dilationH() != 1
        || w.dilationW() != 1
        || w.groups() != 1) {
      return false;
    }
    int high = (w.outH() + 1) / 2;
    int wide = (w.outW() + 1) / 2;
    double products = 16.0 * high * wide;
    return Math.min(w.inC(), w.outC()) >= MIN_CHANNELS
        && (double) w.batch() * high * wide >= MIN_TILES
        && products < MAX_COST * 9 * w.outH() * w.outW();
  }

  int high() {
    return (w.outH() + 1) / 2;
  }

  int wide() {
    return (w.outW() + 1) / 2;
  }

  int count() {
    return Math.multiplyExact(w.batch(), high() * wide());
  }

  /**
   * Transforms one row of patches: {@code to[s][tile][channel]} is element {@code (row, s)} of the
   * transformed patch.
   *
   * @param x address of the channel of the first pixel from which on channels are read
   * @param first the first tile
   * @param last one past the last tile
   * @param row the row of the transformed patches, 0 to 3
   * @param channels the channels
   * @param to address of the result
   * @param width floats between tiles, at least the channels rounded up to whole vectors
   * @param step floats between the elements of a patch
   */
  void input(long x, int first, int last, int row, int channels, long to, long width, long step) {
    boolean add = row == 1;
    int rowA = row;
    int rowB = row == 0 ? 2 : row == 1 ? 2 : 1;
    long pixel = 4L * w.inC();
    int tile = first;
    while (tile < last) {
      int image = tile / (high() * wide());
      int top = tile / wide() % high() * 2 - w.padTop();
      int tw = tile % wide();
      int end = Math.min(wide(), tw + last - tile);
      long a = inputRow(x, image, top + rowA);
      long b = inputRow(x, image, top + rowB);
      tile += end - tw;
      for (; tw < end; tw++, to += 4 * width) {
        int left = 2 * tw - w.padLeft();
        if (a != 0 && b != 0 && left >= 0 && left + 3 < w.inW()) {
          long p = a + left * pixel;
          long q = b + left * pixel;
          loops.inputRow(
              add,
              p,
              p + pixel,
              p + 2 * pixel,
              p + 3 * pixel,
              q,
              q + pixel,
              q + 2 * pixel,
              q + 3 * pixel,
              channels,
              to,
              step);
        } else {
          loops.inputRow(
              add,
              pixel(a, left),
              pixel(a, left + 1),
              pixel(a, left + 2),
              pixel(a, left + 3),
              pixel(b, left),
              pixel(b, left + 1),
              pixel(b, left + 2),
              pixel(b, left + 3),
              channels,
              to,
              step);
        }
      }
    }
  }

  private long inputRow(long x, int image, int row) {
    return row < 0 || row >= w.inH()
        ? 0
        : x + 4L * ((long) image * w.inH() + row) * w.inW() * w.inC();
  }

  private long pixel(long row, int column) {
    return row == 0 || column < 0 || column >= w.inW() ? zeros : row + 4L * column * w.inC();
  }

  /**
   * Transforms one row of output gradients: {@code to[s][tile][channel]} is element {@code (row,
   * s)} of the transformed gradient.
   *
   * @param dy address of the output gradient
   * @param first the first tile
   * @param last one past the last tile
   * @param row the row of the transformed gradient, 0 to 3
   * @param to address of the result
   * @param width floats between tiles, at least the channels rounded up to whole vectors
   * @param step floats between the elements of a gradient
   */
  void gradient(long dy, int first, int last, int row, long to, long width, long step) {
    long pixel = 4L * w.outC();
    long line = w.outW() * pixel;
    for (int tile = first; tile < last; tile++, to += 4 * width) {
      int image = tile / (high() * wide());
      int oh = tile / wide() % high() * 2;
      int ow = tile % wide() * 2;
      long y00 = dy + ((long) image * w.outH() + oh) * line + ow * pixel;
      boolean right = ow + 1 < w.outW();
      boolean below = oh + 1 < w.outH();
      long y01 = right ? y00 + pixel : zeros;
      long y10 = below ? y00 + line : zeros;
      long y11 = right && below ? y00 + line + pixel : zeros;
      switch (row) {
        case 0 -> loops.gradientRow(true, y00, y01, zeros, zeros, w.outC(), to, step);
        case 1 -> loops.gradientRow(true, y00, y01, y10, y11, w.outC(), to, step);
        case 2 -> loops.gradientRow(false, y00, y01, y10, y11, w.outC(), to, step);
        default -> loops.gradientRow(true, y10, y11, zeros, zeros, w.outC(), to, step);
      }
    }
  }

  /**
   * Transforms products back to outputs.
   *
   * @param m address of the products {@code [4 r + s][tile][channel]}
   * @param width floats between tiles
   * @param step floats between the elements of a tile
   * @param first the first tile
   * @param last one past the last tile
   * @param bias address of the bias of the first channel
   * @param channels the channels
   * @param y address of the first channel of the output
   * @param beyond address of {@code channels} floats, for outputs outside the image
   */
  void output(
      long m,
      long width,
      long step,
      int first,
      int last,
      long bias,
      int channels,
      long y,
      long beyond) {
    long pixel = 4L * w.outC();
    long line = w.outW() * pixel;
    for (int tile = first; tile < last; tile++, m += 4 * width) {
      int image = tile / (high() * wide());
      int oh = tile / wide() % high() * 2;
      int ow = tile % wide() * 2;
      long y00 = y + ((long) image * w.outH() + oh) * line + ow * pixel;
      boolean right = ow + 1 < w.outW();
      boolean below = oh + 1 < w.outH();
      loops.output(
          m,
          step,
          bias,
          channels,
          y00,
          right ? y00 + pixel : beyond,
          below ? y00 + line : beyond,
          right && below ? y00 + line + pixel : beyond);
    }
  }
}
