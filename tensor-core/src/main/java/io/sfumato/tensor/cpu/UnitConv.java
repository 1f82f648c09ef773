// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.IntUnaryOperator;

/**
 * A convolution on a {@link MatrixUnit}. A worker rearranges the input rows that some output rows
 * see, with their zero border, to {@code [32 channels][part][pixel]}; a row of such a part has the
 * channels of a pixel, so neighbouring pixels are a block of A for any tap, and nothing is
 * unfolded. A step is a tap of 32 channels. How many parts an element has is up to the subclass.
 *
 * <p>Sixteen outputs are neighbours in a row if rows are multiples of that, or there is a stride;
 * else they are neighbours in the bordered image. What lies beyond a row or on the border is not
 * copied to the result.
 */
abstract class UnitConv {
  static final int LANES = MatrixUnit.SIDE;
  static final int CHANNELS = MatrixUnit.DEPTH;
  static final int ROW = MatrixUnit.ROW_BYTES;
  private static final int ENTRY = MatrixUnit.ENTRY_BYTES;

  /** Output pixels of a work item, about, and bytes of its rearranged input. */
  private static final int ITEM_PIXELS = 512;

  private static final int ITEM_BYTES = 1 << 20;

  /** Tiles of weights that are multiplied at a time; of those in one part, two panels are. */
  private static final int L1_TILES = 40;

  final GemmTile tile;
  final ConvWindow w;
  final long weights;
  final int panels;
  private final boolean byRows;
  private final int slabsOfRow;

  private final int parts;
  private final int groups;
  private final int pitch;
  private final int elementBytes;
  final long tapBytes;
  final long panelBytes;

  /**
   * Prepares a convolution that {@link #canServe} said yes to.
   *
   * @param parts parts of an element
   * @param elementBytes bytes of an element of the input
   * @param panelBytes bytes of the weights of a tap for 16 output channels
   * @param weights address of the rearranged weights
   */
  UnitConv(
      GemmTile tile, ConvWindow w, int parts, int elementBytes, long panelBytes, long weights) {
    this.tile = tile;
    this.w = w;
    this.parts = parts;
    this.elementBytes = elementBytes;
    this.panelBytes = panelBytes;
    this.weights = weights;
    panels = SplitOperands.count(w.outC());
    groups = (w.inC() + CHANNELS - 1) / CHANNELS;
    pitch = w.spanW();
    byRows = isByRows(w);
    slabsOfRow = SplitOperands.count(w.outW());
    tapBytes = panels * panelBytes;
  }

  /** Rearranges a panel of a tap's weights [inC, outC]; {@code to} is address of panel 0. */
  abstract void packPanel(Matrix b, int panel, long to);

  /** From the beginning of a panel to its block for a group of 32 channels. */
  abstract long blockOf(int group);

  /** Whether the weights can be multiplied. */
  abstract boolean isFit();

  /**
   * Rearranges neighbouring pixels of a row.
   *
   * @param pixels how many
   * @param from address of the first one
   * @param to address of its row in the first part of its first channels
   * @param part bytes from a part to the next
   * @return whether they can be multiplied
   */
  abstract boolean pixels(int pixels, long from, long to, long part);

  /** Multiplies as a {@link MatrixUnit} does, by some panels that begin with one. */
  abstract void multiply(
      int slabs,
      long table,
      int steps,
      long stepTable,
      long rowA,
      long partA,
      int firstPanel,
      int panels,
      long start,
      long rowC);

  /**
   * Writes columns of sums to channels of output pixels of a row.
   *
   * @param sums address of the first pixel's sums
   * @param rowC bytes from the sums of a pixel to those of the next
   * @param y address of the first pixel's first channel
   * @param pixel elements from a pixel to the next
   */
  abstract void deliver(int pixels, int columns, long sums, long rowC, long y, long pixel);

  /** Whether a convolution can be computed so. */
  static boolean canServe(ConvWindow w) {
    return w.groups() == 1;
  }

  private static boolean isByRows(ConvWindow w) {
    return w.strideH() != 1 || w.strideW() != 1 || w.outW() % LANES == 0;
  }

  /** How many products there are for each one that is needed. */
  static double waste(ConvWindow w) {
    int width = isByRows(w) ? SplitOperands.count(w.outW()) * LANES : w.spanW();
    return (double) width / w.outW();
  }

  /**
   * Rearranges the weights.
   *
   * @param from the weight of output 0, input 0, tap 0, as a matrix [inC, outC]
   * @param flipped whether the taps come in reverse order
   */
  final void packWeights(Matrix from, boolean flipped) {
    int last = w.taps() - 1;
    packWeights(from, tap -> flipped ? last - tap : tap);
  }

  /**
   * Rearranges the weights.
   *
   * @param from the weight of output 0, input 0, source 0, as a matrix [inC, outC]
   * @param sources from a tap of the window to one of the weights
   */
  final void packWeights(Matrix from, IntUnaryOperator sources) {
    int taps = w.taps();
    Parallel.forRange(
        taps * panels,
        (long) w.inC() * w.outC() < 1 << 10 ? taps * panels : 1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            int tap = i / panels;
            int panel = i % panels;
            int source = sources.applyAsInt(tap);
            Matrix b =
                new Matrix(
                    from.address() + (long) elementBytes * source,
                    from.rowStride(),
                    from.colStride(),
                    0,
                    from.type());
            packPanel(b, panel, weights + tap * tapBytes);
          }
        });
  }

  /** Computes the convolution to dense images. */
  final boolean run(long x, long bias, long y) {
    return run(x, bias, y, ConvTarget.dense(w));
  }

  /**
   * Computes the convolution.
   *
   * @param x address of the input
   * @param bias address of the bias, or 0
   * @param y address of the first output pixel
   * @param target where the others lie
   * @return whether all values can be multiplied; the output is unspecified otherwise
   */
  final boolean run(long x, long bias, long y, ConvTarget target) {
    if (!isFit()) {
      return false;
    }
    int threads = Parallel.threads();
    int rows = rowsOfItem(threads);
    int blocks = (w.outH() + rows - 1) / rows;
    int items = w.batch() * blocks;
    int shares = Math.clamp((2L * threads - 1) / items, 1, Math.max(1, panels / 4));
    int pixels = w.spanH(rows) * pitch;
    long steps = steps(pixels);
    long start = bias == 0 ? 0 : padded(bias);
    AtomicBoolean unfit = new AtomicBoolean();
    Parallel.forRange(
        items * shares,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end && !unfit.get(); i++) {
            int image = i / shares / blocks;
            int first = i / shares % blocks * rows;
            int count = Math.min(rows, w.outH() - first);
            long strip = Scratch.get(Scratch.Slot.PIXELS, stripBytes(pixels));
            long from = x + (long) elementBytes * image * w.inH() * w.inW() * w.inC();
            if (rearrange(from, first, count, pixels, strip)) {
              long to = y + elementBytes * (image * target.image() + first * target.row());
              int share = i % shares;
              int firstPanel = panels * share / shares;
              int lastPanel = panels * (share + 1) / shares;
              multiply(count, pixels, strip, steps, firstPanel, lastPanel, start, to, target);
            } else {
              unfit.set(true);
            }
          }
        });
    return !unfit.get();
  }

  private int rowsOfItem(int threads) {
    int bySize = Math.max(1, ITEM_PIXELS / w.outW());
    long rowBytes = 2L * parts * groups * CHANNELS * pitch * w.strideH();
    int byBytes = (int) Math.max(1, ITEM_BYTES / rowBytes);
    int byThreads = (w.batch() * w.outH() + 2 * threads - 1) / (2 * threads);
    return Math.clamp(Math.min(bySize, byBytes), 1, Math.clamp(byThreads, 1, w.outH()));
  }

  /** Bytes of rearranged input; blocks are read up to fifteen outputs beyond it. */
  private long stripBytes(int pixels) {
    return ((long) parts * groups * pixels + (long) LANES * w.strideW()) * ROW;
  }

  /** The table of steps, {@code [32 channels][tap]}. */
  private long steps(int pixels) {
    int taps = w.taps();
    long table = Scratch.get(Scratch.Slot.STEPS, (long) groups * taps * ENTRY);
    for (int group = 0; group < groups; group++) {
      for (int tap = 0; tap < taps; tap++) {
        int pixel = tap / w.kW() * w.dilationH() * pitch + tap % w.kW() * w.dilationW();
        long left = ((long) parts * group * pixels + pixel) * ROW;
        long right = tap * tapBytes + blockOf(group);
        SplitOperands.entry(table, group * taps + tap, left, right);
      }
    }
    return table;
  }

  /** The bias with as many floats as the panels have columns. */
  private long padded(long bias) {
    long bytes = 4L * panels * LANES;
    long to = Scratch.get(Scratch.Slot.PARAMETERS, bytes);
    Memory.copy(bias, to, 4L * w.outC());
    Memory.zero(to + 4L * w.outC(), bytes - 4L * w.outC());
    return to;
  }

  /** Rearranges what some output rows of an image see. */
  private boolean rearrange(long image, int first, int rows, int pixels, long strip) {
    int from = Math.clamp(w.padLeft(), 0, pitch);
    int to = Math.clamp(w.inW() + (long) w.padLeft(), from, pitch);
    long part = (long) pixels * ROW;
    long step = (long) elementBytes * w.inC();
    boolean fit = true;
    for (int r = 0; r < w.spanH(rows); r++) {
      int row = first * w.strideH() - w.padTop() + r;
      long at = strip + (long) r * pitch * ROW;
      boolean outside = row < 0 || row >= w.inH();
      int begin = outside ? pitch : from;
      int end = outside ? pitch : to;
      for (int i = 0; i < parts * groups; i++) {
        Memory.zero(at + i * part, (long) begin * ROW);
        Memory.zero(at + i * part + (long) end * ROW, (long) (pitch - end) * ROW);
      }
      if (begin >= end) {
        continue;
      }
      long source = image + ((long) row * w.inW() + begin - w.padLeft()) * step;
      long target = at + (long) begin * ROW;
      fit &= pixels(end - begin, source, target, part);
    }
    return fit;
  }

  private void multiply(
      int rows,
      int pixels,
      long strip,
      long steps,
      int firstPanel,
      int lastPanel,
      long start,
      long y,
      ConvTarget target) {
    int taps = w.taps();
    int slabs = byRows ? rows * slabsOfRow : SplitOperands.count((rows - 1) * pitch + w.outW());
    boolean direct =
        w.outW() % LANES == 0
            && w.outC() % LANES == 0
            && elementBytes == Float.BYTES
            && target.isMatrix(w);
    int width = (lastPanel - firstPanel) * LANES;
    long rowC = 4L * (direct ? target.pixel() : width);
    long out =
        direct
            ? y + 4L * firstPanel * LANES
            : Scratch.get(Scratch.Slot.TRANSFORMED_OUTPUT, slabs * LANES * rowC);
    long table = Scratch.get(Scratch.Slot.TABLE, (slabs + 1L) * ENTRY);
    for (int i = 0; i <= slabs; i++) {
      int pixel =
          byRows
              ? i / slabsOfRow * w.strideH() * pitch + i % slabsOfRow * LANES * w.strideW()
              : i * LANES;
      SplitOperands.entry(table, i, strip + (long) pixel * ROW, out + i * LANES * rowC);
    }
    // as many at a time as stay in an L1 cache
    int together = Math.clamp(L1_TILES / ((parts == 1 ? 2 : parts) * taps), 1, groups);
    for (int group = 0; group < groups; group += together) {
      multiply(
          slabs,
          table,
          Math.min(together, groups - group) * taps,
          steps + (long) group * taps * ENTRY,
          byRows ? (long) w.strideW() * ROW : ROW,
          (long) pixels * ROW,
          firstPanel,
          lastPanel - firstPanel,
          group > 0 ? MatrixUnit.ADD : start == 0 ? 0 : start + 4L * firstPanel * LANES,
          rowC);
    }
    if (!direct) {
      int columns = Math.min(w.outC() - firstPanel * LANES, width);
      int between = byRows ? slabsOfRow * LANES : pitch;
      for (int r = 0; r < rows; r++) {
        long to = y + elementBytes * (r * target.row() + (long) firstPanel * LANES);
        deliver(w.outW(), columns, out + r * between * rowC, rowC, to, target.pixel());
      }
    }
  }
}
