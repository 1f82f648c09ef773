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
   * @param width floats between tiles, the channels rounded up to whole vectors
   * @param step floats between the elements of a patch
   */
  void input(long x, int first, int last, int row, int channels, long to, int width, long step) {
    int rowA = row;
    int rowB = row == 0 || row == 1 ? 2 : 1;
    // the combined rows of a row of tiles, from padLeft pixels left of the image on
    int columns = 2 * wide() + 2;
    int from = Math.clamp(w.padLeft(), 0, columns);
    int inside = Math.clamp(w.inW() + (long) w.padLeft(), from, columns) - from;
    int skipped = from - w.padLeft();
    long strip = Scratch.get(Scratch.Slot.PIXELS, 4L * columns * width);
    Memory.zero(strip, 4L * from * width);
    Memory.zero(strip + 4L * (from + inside) * width, 4L * (columns - from - inside) * width);
    long inner = strip + 4L * from * width;
    for (int tile = first; tile < last; ) {
      int image = tile / (high() * wide());
      int top = tile / wide() % high() * 2 - w.padTop();
      int tw = tile % wide();
      int run = Math.min(wide() - tw, last - tile);
      long a = inputRow(x, image, top + rowA, skipped);
      long b = inputRow(x, image, top + rowB, skipped);
      loops.combine(
          row == 1,
          inside,
          channels,
          a == 0 ? zeros : a,
          a == 0 ? 0 : w.inC(),
          b == 0 ? zeros : b,
          b == 0 ? 0 : w.inC(),
          inner,
          width);
      loops.inputColumns(run, width, strip + 8L * tw * width, width, to, width, step);
      tile += run;
      to += 4L * run * width;
    }
  }

  /** Address of a pixel of a row, or 0 outside the image. */
  private long inputRow(long x, int image, int row, int column) {
    return row < 0 || row >= w.inH()
        ? 0
        : x + 4L * (((long) image * w.inH() + row) * w.inW() + column) * w.inC();
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
   * @param width floats between tiles, the channels rounded up to whole vectors
   * @param step floats between the elements of a gradient
   */
  void gradient(long dy, int first, int last, int row, long to, int width, long step) {
    long line = 4L * w.outW() * w.outC();
    boolean inPlace = width == w.outC() && w.outW() % 2 == 0;
    int columns = 2 * wide();
    long strip = Scratch.get(Scratch.Slot.PIXELS, 4L * columns * width);
    Memory.zero(strip + 4L * w.outW() * width, 4L * (columns - w.outW()) * width);
    for (int tile = first; tile < last; ) {
      int image = tile / (high() * wide());
      int oh = tile / wide() % high() * 2;
      int tw = tile % wide();
      int run = Math.min(wide() - tw, last - tile);
      long upper = dy + ((long) image * w.outH() + oh) * line;
      boolean both = oh + 1 < w.outH();
      boolean alone = row == 0 || row == 3;
      long a = row == 3 ? upper + line : upper;
      long from = a;
      if (row == 3 && !both) {
        loops.combine(true, w.outW(), w.outC(), zeros, 0, zeros, 0, strip, width);
        from = strip;
      } else if (!alone || !inPlace) {
        boolean single = alone || !both;
        loops.combine(
            row != 2,
            w.outW(),
            w.outC(),
            a,
            w.outC(),
            single ? zeros : upper + line,
            single ? 0 : w.outC(),
            strip,
            width);
        from = strip;
      }
      loops.gradientColumns(run, width, from + 8L * tw * width, width, to, width, step);
      tile += run;
      to += 4L * run * width;
    }
  }

  /**
   * Transforms products back to outputs, after {@link WinogradLoops#outputRows}.
   *
   * @param u address of the products {@code [4 r + s][tile][channel]}, {@code r < 2}
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
      long u,
      int width,
      long step,
      int first,
      int last,
      long bias,
      int channels,
      long y,
      long beyond) {
    long pixel = 4L * w.outC();
    for (int tile = first; tile < last; ) {
      int image = tile / (high() * wide());
      int oh = tile / wide() % high() * 2;
      int tw = tile % wide();
      int run = Math.min(wide() - tw, last - tile);
      int pairs = Math.min(run, w.outW() / 2 - tw);
      int rows = Math.min(2, w.outH() - oh);
      for (int r = 0; r < rows; r++) {
        long from = u + 16 * r * step;
        long to = y + (((long) image * w.outH() + oh + r) * w.outW() + 2L * tw) * pixel;
        long stride = 2L * w.outC();
        loops.outputColumns(pairs, channels, from, width, step, bias, to, to + pixel, stride);
        if (pairs < run) {
          from += 4L * pairs * width;
          to += 2L * pairs * pixel;
          loops.outputColumns(1, channels, from, width, step, bias, to, beyond, stride);
        }
      }
      tile += run;
      u += 4L * run * width;
    }
  }
}
