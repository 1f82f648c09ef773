// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.function.IntUnaryOperator;

/**
 * A convolution as products of register tiles. The weights are rearranged to panels once; then the
 * workers take blocks of output rows.
 *
 * <p>A block's input is copied with its zero border into a strip. In the strip the taps of one
 * kernel row and their channels are contiguous, so for each kernel row the output row is one
 * product {@code [outW, kW * inC] x [kW * inC, outC]} whose left operand is read in place: its rows
 * overlap. Where that does not hold (dilation, groups) or pays little (few channels, narrow images)
 * the block is unfolded first ({@code im2col}).
 */
final class ConvForward {
  /** Output pixels of a block: enough to use a panel of weights well. */
  private static final int BLOCK_PIXELS = 256;

  private static final int MIN_BLOCK_PIXELS = 32;

  /** Floats of a block's input. */
  private static final int BLOCK_FLOATS = 1 << 17;

  /** Rows of the left operand shorter than this are unfolded over all kernel rows. */
  private static final int MIN_DEPTH = 48;

  private static final int MIN_WIDTH = 4;

  private final GemmTile tile;
  private final ConvWindow w;
  private final int panels;
  private final int full;
  private final long groupFloats;
  private final long weights;
  private final long x;
  private final long bias;
  private final long y;
  private final ConvTarget target;
  private final boolean inPlace;

  /**
   * The weights alone.
   *
   * @param tile the tiles
   * @param w the sizes
   * @param weights address of {@link #weightFloats} floats of rearranged weights
   */
  ConvForward(GemmTile tile, ConvWindow w, long weights) {
    this(tile, w, weights, 0, 0, 0, ConvTarget.dense(w));
  }

  /**
   * A convolution of some image.
   *
   * @param tile the tiles
   * @param w the sizes
   * @param weights address of the rearranged weights
   * @param x address of the input
   * @param bias address of the bias, or 0
   * @param y address of the first output pixel
   * @param target where the others lie
   */
  ConvForward(
      GemmTile tile, ConvWindow w, long weights, long x, long bias, long y, ConvTarget target) {
    this.tile = tile;
    this.w = w;
    this.weights = weights;
    this.x = x;
    this.bias = bias;
    this.y = y;
    this.target = target;
    full = Panels.fullWidth(tile);
    panels = Panels.count(tile, w.groupOutC());
    groupFloats = Panels.floats(tile, w.depth(), w.groupOutC());
    inPlace = w.dense() && w.outW() >= MIN_WIDTH && w.kW() * w.inC() >= MIN_DEPTH;
  }

  /** The floats of the rearranged weights. */
  static long weightFloats(GemmTile tile, ConvWindow w) {
    return Panels.floats(tile, w.depth(), w.groupOutC()) * w.groups();
  }

  /**
   * Rearranges the weights.
   *
   * @param from address of the weight of group 0, output 0, input 0, tap 0
   * @param outStride floats between output channels
   * @param inStride floats between input channels
   * @param flipped whether the taps come in reverse order
   */
  void packWeights(long from, long outStride, long inStride, boolean flipped) {
    int last = w.taps() - 1;
    packWeights(from, outStride, inStride, tap -> flipped ? last - tap : tap);
  }

  /**
   * As {@link #packWeights(long, long, long, boolean)}.
   *
   * @param from address of the weight of group 0, output 0, input 0, source 0
   * @param outStride floats between output channels
   * @param inStride floats between input channels
   * @param sources from a tap of the window to one of the weights
   */
  void packWeights(long from, long outStride, long inStride, IntUnaryOperator sources) {
    int taps = w.taps();
    int channels = w.groupInC();
    int perGroup = panels * taps;
    long groupStride = (long) w.groupOutC() * channels * taps;
    Parallel.forRange(
        w.groups() * perGroup,
        w.groups() * groupStride < 1 << 14 ? w.groups() * perGroup : 1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            int group = i / perGroup;
            int first = i % perGroup / taps * full;
            int tap = i % taps;
            int columns = Math.min(full, w.groupOutC() - first);
            int source = sources.applyAsInt(tap);
            long to = panel(group, first) + 4L * tap * channels * Panels.width(tile, columns);
            Panels.pack(
                tile,
                channels,
                columns,
                from + 4 * (group * groupStride + first * outStride + source),
                inStride,
                outStride,
                to);
          }
        });
  }

  private long panel(int group, int firstColumn) {
    return weights + 4 * (group * groupFloats + (long) firstColumn * w.depth());
  }

  void run() {
    int rows = w.batch() * w.outH();
    int wanted = 4 * Parallel.threads();
    int pixels = Math.clamp((long) rows * w.outW() / wanted + 1, MIN_BLOCK_PIXELS, BLOCK_PIXELS);
    int floatsPerRow = inPlace ? w.strideH() * w.rowFloats() : w.outW() * w.depth();
    int block = Math.max(1, Math.min(pixels / w.outW(), BLOCK_FLOATS / floatsPerRow));
    int blocks = (rows + block - 1) / block;
    int split = Math.clamp(wanted / Math.max(1, blocks), 1, panels);
    int items = blocks * split;
    boolean serial = (double) rows * w.outW() * w.outC() * w.depth() < 1 << 19;
    Parallel.forRange(
        items,
        serial ? items : 1,
        (begin, end, worker) -> {
          for (int item = begin; item < end; item++) {
            int first = item / split * block;
            int part = item % split;
            rows(
                first,
                Math.min(rows, first + block),
                part * panels / split,
                (part + 1) * panels / split);
          }
        });
  }

  /** Output rows {@code first} to {@code last}, counted over all images, for some panels. */
  private void rows(int first, int last, int firstPanel, int lastPanel) {
    int count = last - first;
    long[] seen = new long[count];
    locate(first, last, seen);
    if (inPlace) {
      for (int panel = firstPanel; panel < lastPanel; panel++) {
        inPlace(first, seen, panel);
      }
      return;
    }
    int depth = w.depth();
    int pixels = count * w.outW();
    long unfolded = Scratch.get(Scratch.Slot.COLUMNS, 4L * pixels * depth);
    for (int group = 0; group < w.groups(); group++) {
      for (int r = 0; r < count; r++) {
        w.unfold(tile, group, 0, depth, seen[r], unfolded + 4L * r * w.outW() * depth, depth);
      }
      for (int panel = firstPanel; panel < lastPanel; panel++) {
        unfolded(first, pixels, unfolded, group, panel);
      }
    }
  }

  /** Finds, or makes, what each output row sees: the address of its first input pixel. */
  private void locate(int first, int last, long[] seen) {
    long rowBytes = 4L * w.rowFloats();
    long imageBytes = 4L * w.inH() * w.inW() * w.inC();
    if (w.inside()) {
      for (int r = first; r < last; r++) {
        seen[r - first] = x + r / w.outH() * imageBytes + r % w.outH() * w.strideH() * rowBytes;
      }
      return;
    }
    int firstImage = first / w.outH();
    int lastImage = (last - 1) / w.outH();
    long stripRows = 0;
    for (int n = firstImage; n <= lastImage; n++) {
      stripRows += w.spanH(end(n, last) - begin(n, first));
    }
    long strip = Scratch.get(Scratch.Slot.PIXELS, stripRows * rowBytes);
    for (int n = firstImage; n <= lastImage; n++) {
      int begin = begin(n, first);
      int end = end(n, last);
      w.copyStrip(x + n * imageBytes, begin, end - begin, strip);
      for (int oh = begin; oh < end; oh++) {
        seen[n * w.outH() + oh - first] = strip + (oh - begin) * w.strideH() * rowBytes;
      }
      strip += w.spanH(end - begin) * rowBytes;
    }
  }

  private int begin(int image, int first) {
    return Math.max(0, first - image * w.outH());
  }

  private int end(int image, int last) {
    return Math.min(w.outH(), last - image * w.outH());
  }

  /** One panel of output channels for some output rows, the input read in place. */
  private void inPlace(int first, long[] seen, int panel) {
    int column = panel * full;
    int columns = Math.min(full, w.outC() - column);
    int width = Panels.width(tile, columns);
    int depth = w.kW() * w.inC();
    int kBlock = Gemm.kBlock(depth);
    long rowStride = (long) w.strideW() * w.inC();
    boolean add = false;
    long weight = panel(0, column);
    for (int kh = 0; kh < w.kH(); kh++) {
      long down = 4L * kh * w.dilationH() * w.rowFloats();
      for (int p = 0; p < depth; p += kBlock) {
        int length = Math.min(kBlock, depth - p);
        for (int r = 0; r < seen.length; r++) {
          Panels.multiply(
              tile,
              w.outW(),
              columns,
              length,
              seen[r] + down + 4L * p,
              tile.maxRows() * rowStride,
              rowStride,
              1,
              weight + 4L * (kh * depth + p) * width,
              width,
              add || bias == 0 ? 0 : bias + 4L * column,
              outputRow(first + r) + 4L * column,
              target.pixel(),
              add);
        }
        add = true;
      }
    }
  }

  /** One panel of output channels for some unfolded pixels. */
  private void unfolded(int first, int pixels, long unfolded, int group, int panel) {
    int column = panel * full;
    int columns = Math.min(full, w.groupOutC() - column);
    int width = Panels.width(tile, columns);
    int depth = w.depth();
    int kBlock = Gemm.kBlock(depth);
    int channel = group * w.groupOutC() + column;
    long weight = panel(group, column);
    int part = target.isMatrix(w) ? pixels : w.outW(); // what one product can write
    for (int from = 0; from < pixels; from += part) {
      long out = outputRow(first + from / w.outW()) + 4L * channel;
      for (int p = 0; p < depth; p += kBlock) {
        Panels.multiply(
            tile,
            part,
            columns,
            Math.min(kBlock, depth - p),
            unfolded + 4L * ((long) from * depth + p),
            (long) tile.maxRows() * depth,
            depth,
            1,
            weight + 4L * p * width,
            width,
            p > 0 || bias == 0 ? 0 : bias + 4L * channel,
            out,
            target.pixel(),
            p > 0);
      }
    }
  }

  /** Address of an output row, counted over all images. */
  private long outputRow(int row) {
    return y + 4 * (row / w.outH() * target.image() + row % w.outH() * target.row());
  }
}
