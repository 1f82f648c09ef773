// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A convolution on a {@link MatrixUnit}. A worker splits the input rows that some output rows see,
 * with their zero border, into {@code [32 channels][part][pixel]}; a row of such a part has the
 * channels of a pixel, so neighbouring pixels are a block of A for any tap, and nothing is
 * unfolded. A step is a tap of 32 channels.
 *
 * <p>Sixteen outputs are neighbours in a row if rows are multiples of that; else, without stride,
 * they are neighbours in the bordered image, and what lies on the border is not copied to the
 * result.
 */
final class SplitConv {
  private static final int LANES = MatrixUnit.SIDE;
  private static final int CHANNELS = MatrixUnit.DEPTH;
  private static final int ROW = MatrixUnit.ROW_BYTES;
  private static final int ENTRY = MatrixUnit.ENTRY_BYTES;

  /** Output pixels of a work item, about, and bytes of its split input. */
  private static final int ITEM_PIXELS = 512;

  private static final int ITEM_BYTES = 1 << 20;

  private final GemmTile tile;
  private final MatrixUnit unit;
  private final ConvWindow w;
  private final long weights;
  private final int panels;
  private final int groups;
  private final int pitch;
  private final boolean byRows;
  private final long tapBytes;

  /**
   * Prepares a convolution that {@link #serves} said yes to.
   *
   * @param weights address of {@link #weightFloats} floats of split weights
   */
  SplitConv(GemmTile tile, MatrixUnit unit, ConvWindow w, long weights) {
    this.tile = tile;
    this.unit = unit;
    this.w = w;
    this.weights = weights;
    panels = SplitOperands.count(w.outC());
    groups = (w.inC() + CHANNELS - 1) / CHANNELS;
    pitch = w.spanW();
    byRows = isByRows(w);
    tapBytes = SplitOperands.allBytes(w.inC(), w.outC());
  }

  /** Whether a convolution can be computed so. */
  static boolean canServe(ConvWindow w) {
    boolean dense = w.strideH() == 1 && w.strideW() == 1;
    return w.groups() == 1 && (dense || isByRows(w));
  }

  private static boolean isByRows(ConvWindow w) {
    return w.outW() % LANES == 0;
  }

  /**
   * Whether a convolution can be computed so, and is faster than by tiles, by cycles of a core for
   * an output pixel.
   */
  static boolean serves(ConvWindow w) {
    if (!canServe(w)) {
      return false;
    }
    boolean byRows = isByRows(w);
    double waste = byRows ? 1 : (double) w.spanW() / w.outW();
    int in = (w.inC() + CHANNELS - 1) / CHANNELS * CHANNELS;
    int out = SplitOperands.count(w.outC()) * LANES;
    double split =
        waste * w.taps() * in * out / 50
            + (double) w.inC() * w.strideH() * w.strideW()
            + (byRows ? 0 : 0.5 * w.outC());
    double products = (double) w.inC() * w.outC() / 26;
    double tiles =
        WinogradTiles.pay(w) ? 4 * products + 2.3 * (w.inC() + w.outC()) : w.taps() * products;
    return split < tiles;
  }

  /** The floats of the split weights. */
  static long weightFloats(ConvWindow w) {
    return w.taps() * SplitOperands.allBytes(w.inC(), w.outC()) / 4;
  }

  /**
   * Splits the weights.
   *
   * @param from address of the weight of output 0, input 0, tap 0
   * @param outStride floats between output channels
   * @param inStride floats between input channels
   * @param flipped whether the taps come in reverse order
   */
  void packWeights(long from, long outStride, long inStride, boolean flipped) {
    int taps = w.taps();
    Parallel.forRange(
        taps * panels,
        (long) w.inC() * w.outC() < 1 << 10 ? taps * panels : 1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            int tap = i / panels;
            int panel = i % panels;
            int source = flipped ? taps - 1 - tap : tap;
            Matrix b = new Matrix(from + 4L * source, inStride, outStride, 0);
            long to = weights + tap * tapBytes;
            SplitOperands.panels(tile, unit, w.inC(), w.outC(), panel, panel + 1, b, to);
          }
        });
  }

  /** Whether all weights could be split. */
  private boolean isFit() {
    for (int tap = 0; tap < w.taps(); tap++) {
      if (!SplitOperands.areFit(w.inC(), panels, weights + tap * tapBytes)) {
        return false;
      }
    }
    return true;
  }

  /**
   * Computes the convolution.
   *
   * @param x address of the input
   * @param bias address of the bias, or 0
   * @param y address of the output
   * @return whether all values could be split; the output is unspecified otherwise
   */
  boolean run(long x, long bias, long y) {
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
            long from = x + 4L * image * w.inH() * w.inW() * w.inC();
            if (split(from, first, count, pixels, strip)) {
              long to = y + 4L * (image * w.outH() + first) * w.outW() * w.outC();
              int share = i % shares;
              int firstPanel = panels * share / shares;
              int lastPanel = panels * (share + 1) / shares;
              multiply(count, pixels, strip, steps, firstPanel, lastPanel, start, to);
            } else {
              unfit.set(true);
            }
          }
        });
    return !unfit.get();
  }

  private int rowsOfItem(int threads) {
    int bySize = Math.max(1, ITEM_PIXELS / w.outW());
    long rowBytes = 6L * groups * CHANNELS * pitch * w.strideH();
    int byBytes = (int) Math.max(1, ITEM_BYTES / rowBytes);
    int byThreads = (w.batch() * w.outH() + 2 * threads - 1) / (2 * threads);
    return Math.clamp(Math.min(bySize, byBytes), 1, Math.clamp(byThreads, 1, w.outH()));
  }

  /** Bytes of split input; blocks are read up to fifteen pixels beyond it. */
  private long stripBytes(int pixels) {
    return (3L * groups * pixels + LANES) * ROW;
  }

  /** The table of steps, {@code [32 channels][tap]}. */
  private long steps(int pixels) {
    int taps = w.taps();
    long table = Scratch.get(Scratch.Slot.STEPS, (long) groups * taps * ENTRY);
    int perBlock = SplitOperands.K_BLOCK / CHANNELS;
    for (int group = 0; group < groups; group++) {
      for (int tap = 0; tap < taps; tap++) {
        int pixel = tap / w.kW() * w.dilationH() * pitch + tap % w.kW() * w.dilationW();
        long left = (3L * group * pixels + pixel) * ROW;
        long right =
            tap * tapBytes
                + SplitOperands.panelBytes(group / perBlock * SplitOperands.K_BLOCK)
                + group % perBlock * MatrixUnit.BLOCK_BYTES;
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

  /** Splits what some output rows of an image see. */
  private boolean split(long image, int first, int rows, int pixels, long strip) {
    int from = Math.clamp(w.padLeft(), 0, pitch);
    int to = Math.clamp(w.inW() + (long) w.padLeft(), from, pitch);
    long part = (long) pixels * ROW;
    long step = 4L * w.inC();
    boolean fit = true;
    for (int r = 0; r < w.spanH(rows); r++) {
      int row = first * w.strideH() - w.padTop() + r;
      long at = strip + (long) r * pitch * ROW;
      boolean outside = row < 0 || row >= w.inH();
      int begin = outside ? pitch : from;
      int end = outside ? pitch : to;
      for (int i = 0; i < 3 * groups; i++) {
        Memory.zero(at + i * part, (long) begin * ROW);
        Memory.zero(at + i * part + (long) end * ROW, (long) (pitch - end) * ROW);
      }
      if (begin >= end) {
        continue;
      }
      long source = image + ((long) row * w.inW() + begin - w.padLeft()) * step;
      long target = at + (long) begin * ROW;
      fit &=
          SplitOperands.rows(
              unit, end - begin, w.inC(), source, step, target, 3 * part, part, w.inW() * step);
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
      long y) {
    int taps = w.taps();
    int slabs =
        byRows ? rows * w.outW() / LANES : SplitOperands.count((rows - 1) * pitch + w.outW());
    boolean direct = byRows && w.outC() % LANES == 0;
    int width = (lastPanel - firstPanel) * LANES;
    long rowC = 4L * (direct ? w.outC() : width);
    long out =
        direct
            ? y + 4L * firstPanel * LANES
            : Scratch.get(Scratch.Slot.TRANSFORMED_OUTPUT, slabs * LANES * rowC);
    long table = Scratch.get(Scratch.Slot.TABLE, (slabs + 1L) * ENTRY);
    for (int i = 0; i <= slabs; i++) {
      int pixel = i * LANES;
      if (byRows) {
        pixel = pixel / w.outW() * w.strideH() * pitch + pixel % w.outW() * w.strideW();
      }
      SplitOperands.entry(table, i, strip + (long) pixel * ROW, out + i * LANES * rowC);
    }
    for (int group = 0; group < groups; group++) {
      unit.multiply(
          slabs,
          table,
          taps,
          steps + (long) group * taps * ENTRY,
          byRows ? (long) w.strideW() * ROW : ROW,
          (long) pixels * ROW,
          lastPanel - firstPanel,
          SplitOperands.blocks(weights + firstPanel * SplitOperands.panelBytes(w.inC())),
          SplitOperands.panelBytes(w.inC()),
          MatrixUnit.TILE_BYTES,
          group > 0 ? MatrixUnit.ADD : start == 0 ? 0 : start + 4L * firstPanel * LANES,
          rowC);
    }
    if (!direct) {
      int columns = Math.min(w.outC() - firstPanel * LANES, width);
      int between = byRows ? w.outW() : pitch;
      for (int r = 0; r < rows; r++) {
        tile.copyRows(
            w.outW(),
            columns,
            out + r * between * rowC,
            width,
            y + 4L * ((long) r * w.outW() * w.outC() + firstPanel * LANES),
            w.outC());
      }
    }
  }
}
