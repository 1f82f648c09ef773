// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * How the outputs of a convolution see its input: the same numbers as a {@link ConvGeometry}, but
 * the padding may be negative (the image is cropped) and the output size is given.
 */
record ConvWindow(
    int batch,
    int inC,
    int inH,
    int inW,
    int outC,
    int outH,
    int outW,
    int kH,
    int kW,
    int strideH,
    int strideW,
    int padTop,
    int padLeft,
    int dilationH,
    int dilationW,
    int groups) {
  static ConvWindow forward(ConvGeometry g) {
    return new ConvWindow(
        g.batch(),
        g.inC(),
        g.inH(),
        g.inW(),
        g.outC(),
        g.outH(),
        g.outW(),
        g.kH(),
        g.kW(),
        g.strideH(),
        g.strideW(),
        g.padTop(),
        g.padLeft(),
        g.dilationH(),
        g.dilationW(),
        g.groups());
  }

  /** The window of a stride-1 convolution's input gradient over the output gradient. */
  static ConvWindow inputGradient(ConvGeometry g) {
    return new ConvWindow(
        g.batch(),
        g.outC(),
        g.outH(),
        g.outW(),
        g.inC(),
        g.inH(),
        g.inW(),
        g.kH(),
        g.kW(),
        1,
        1,
        g.dilationH() * (g.kH() - 1) - g.padTop(),
        g.dilationW() * (g.kW() - 1) - g.padLeft(),
        g.dilationH(),
        g.dilationW(),
        g.groups());
  }

  int groupInC() {
    return inC / groups;
  }

  int groupOutC() {
    return outC / groups;
  }

  int taps() {
    return kH * kW;
  }

  /** The columns of the unfolded input of one group: taps times channels, channels fastest. */
  int depth() {
    return taps() * groupInC();
  }

  /** The taps of a kernel row are neighbours in memory, so that they form one long row. */
  boolean dense() {
    return groups == 1 && (dilationW == 1 || kW == 1);
  }

  /** Input rows from the first to the last that {@code rows} output rows of an image see. */
  int spanH(int rows) {
    return (rows - 1) * strideH + dilationH * (kH - 1) + 1;
  }

  /** Input columns from the first to the last that an output row sees. */
  int spanW() {
    return (outW - 1) * strideW + dilationW * (kW - 1) + 1;
  }

  /** Whether every output sees only pixels of the image, so that the image is read in place. */
  boolean inside() {
    return padTop == 0 && padLeft == 0 && spanH(outH) <= inH && spanW() <= inW;
  }

  /** Floats of one input row as the kernels see it: the image's, or the bordered strip's. */
  int rowFloats() {
    return (inside() ? inW : spanW()) * inC;
  }

  /**
   * Copies the input rows that the output rows {@code [first, first + rows)} of one image see, with
   * zeros where there is no image.
   *
   * @param image address of the image
   * @param first the first output row
   * @param rows the number of output rows
   * @param strip address of {@code spanH(rows) * rowFloats()} floats
   */
  void copyStrip(long image, int first, int rows, long strip) {
    int columns = spanW();
    long rowBytes = 4L * columns * inC;
    int from = Math.clamp(padLeft, 0, columns);
    int to = Math.clamp(inW + (long) padLeft, from, columns);
    int span = spanH(rows);
    for (int r = 0; r < span; r++, strip += rowBytes) {
      int row = first * strideH - padTop + r;
      if (row < 0 || row >= inH) {
        Memory.zero(strip, rowBytes);
        continue;
      }
      long pixel = 4L * inC;
      Memory.zero(strip, from * pixel);
      Memory.copy(
          image + ((long) row * inW + from - padLeft) * pixel,
          strip + from * pixel,
          (to - from) * pixel);
      Memory.zero(strip + to * pixel, (columns - to) * pixel);
    }
  }

  /**
   * Unfolds part of one output row: {@code to[ow, q - begin] = the input at tap and channel q},
   * {@code begin <= q < end}, where {@code q} counts taps, then channels of the group.
   *
   * @param tile copies
   * @param group the group of channels
   * @param begin the first column
   * @param end one past the last column
   * @param row address of the first input pixel that the output row sees
   * @param to address of the result
   * @param toStride floats between rows of the result
   */
  void unfold(GemmTile tile, int group, int begin, int end, long row, long to, long toStride) {
    int channels = groupInC();
    int run = dense() ? kW * channels : channels;
    for (int q = begin; q < end; ) {
      int stop = Math.min(end, (q / run + 1) * run);
      int tap = q / channels;
      long offset =
          (long) (tap / kW) * dilationH * rowFloats()
              + (long) (tap % kW) * dilationW * inC
              + group * channels
              + q % channels;
      tile.copyRows(
          outW, stop - q, row + 4 * offset, (long) strideW * inC, to + 4L * (q - begin), toStride);
      q = stop;
    }
  }
}
