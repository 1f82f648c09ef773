// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * The weight gradient of a convolution of bfloat16, on a {@link HalfUnit}: for each tap the product
 * of the transposed output gradient with the input, summed over pixels.
 *
 * <p>With a stride, taps whose places agree modulo the stride read the same pixels: each such phase
 * is a convolution of stride 1 over every stride-th pixel of the input. Pixels are counted in the
 * bordered image, where a tap is a distance. Output gradients are zero on the border. Input pixels
 * are paired twice, from an even and from an odd one on, so that a tile begins at any pixel. (So an
 * infinity in the input can turn weights of its channel to NaN whose tap does not see it.) Sums are
 * f32, in an order that depends on the sizes alone.
 *
 * <p>Each worker sums up the weights of some output and some input channels, and rearranges what it
 * reads itself: operands that another core has rearranged would come from there, which takes longer
 * than to do it twice.
 */
final class HalfConvWeightGradient {
  /** Pixels that are summed up at a time, about. */
  private static final int PIXELS = 640;

  /** Panels that are multiplied at a time. */
  private static final int TOGETHER = 4;

  private static final int SIDE = MatrixUnit.SIDE;
  private static final int DEPTH = MatrixUnit.DEPTH;
  private static final int ROW = MatrixUnit.ROW_BYTES;
  private static final int BYTES = Short.BYTES;

  /** Channels that are rearranged at a time: a row of two panels or slabs. */
  private static final int CHANNELS = ROW / BYTES;

  /** Bytes of the sums of a tap of 32 output and 32 input channels. */
  private static final long SUM_BYTES = (long) Float.BYTES * CHANNELS * CHANNELS;

  private final GemmTile tile = Loops.tile();
  private final CastLoops casts = Loops.leaf().casts();
  private final HalfUnit unit;
  private final ConvWindow w;
  private final List<Phase> phases;
  private final int reach; // rows from an output's first input row to its last, of a phase
  private final int pitch;
  private final int images; // of a chunk
  private final int rows; // of an image
  private final int lines; // of an image, its border included
  private final int pixels; // summed over
  private final int inputPixels;
  private final long slabBytes;
  private final long pairBytes; // of a panel

  HalfConvWeightGradient(HalfUnit unit, ConvWindow w) {
    this.unit = unit;
    this.w = w;
    phases = phases(w);
    reach = (w.kH() - 1) * w.dilationH() / w.strideH();
    int reachW = (w.kW() - 1) * w.dilationW() / w.strideW();
    pitch = w.outW() + reachW;
    int whole = (w.outH() + reach) * pitch;
    images = Math.clamp(PIXELS / whole, 1, w.batch());
    rows = images > 1 ? w.outH() : Math.clamp(PIXELS / pitch, 1, w.outH());
    lines = images > 1 ? whole / pitch : rows;
    pixels = (images * lines * pitch + DEPTH - 1) / DEPTH * DEPTH;
    inputPixels = (pixels + reach * pitch + reachW + 3) / 2 * 2;
    slabBytes = HalfOperands.bytes(pixels);
    pairBytes = (long) inputPixels / 2 * ROW;
  }

  private static int groups(int channels) {
    return (channels + CHANNELS - 1) / CHANNELS;
  }

  /** Taps that read every stride-th pixel, from a row and a column of the kernel on. */
  private record Phase(int row, int column, List<Integer> taps) {}

  private static List<Phase> phases(ConvWindow w) {
    List<Phase> all = new ArrayList<>();
    for (int row = 0; row < w.strideH(); row++) {
      for (int column = 0; column < w.strideW(); column++) {
        Phase phase = new Phase(row, column, new ArrayList<>());
        for (int tap = 0; tap < w.taps(); tap++) {
          if (tap / w.kW() * w.dilationH() % w.strideH() == row
              && tap % w.kW() * w.dilationW() % w.strideW() == column) {
            phase.taps.add(tap);
          }
        }
        if (!phase.taps.isEmpty()) {
          all.add(phase);
        }
      }
    }
    return all;
  }

  /** Pixels of its phase from an output to the input that a tap reads. */
  private int distance(int tap) {
    return tap / w.kW() * w.dilationH() / w.strideH() * pitch
        + tap % w.kW() * w.dilationW() / w.strideW();
  }

  /**
   * Computes the gradient.
   *
   * @param x address of the input {@code [batch, inH, inW, inC]}
   * @param dy address of the output gradient {@code [batch, outH, outW, outC]}
   * @param dw address of the result {@code [outC, inC, kH, kW]}
   */
  void run(long x, long dy, long dw) {
    int outs = groups(w.outC());
    int ins = groups(w.inC());
    Storage sums = CpuBackend.instance().allocate((long) w.taps() * outs * ins * SUM_BYTES);
    try {
      int across = across(outs, ins, Parallel.threads());
      int down = Math.min(outs, Parallel.threads() / across);
      Parallel.forRange(
          across * down,
          1,
          (begin, end, worker) -> {
            for (int i = begin; i < end; i++) {
              int row = i / across;
              int column = i % across;
              int firstOut = outs * row / down;
              int endOut = outs * (row + 1) / down;
              int firstIn = ins * column / across;
              int endIn = ins * (column + 1) / across;
              long before = (long) firstOut * ins + (long) (endOut - firstOut) * firstIn;
              long to = sums.address() + w.taps() * before * SUM_BYTES;
              new Share(firstOut, endOut, firstIn, endIn, to).run(x, dy, dw);
            }
          });
    } finally {
      sums.release();
    }
  }

  /**
   * How many shares the input channels are divided into, for the largest share to take the least
   * time: by nanoseconds of a core for a pixel.
   */
  private int across(int outs, int ins, int threads) {
    int best = 1;
    double least = Double.POSITIVE_INFINITY;
    for (int across = 1; across <= Math.min(ins, threads); across++) {
      int down = Math.min(outs, threads / across);
      int in = Math.ceilDiv(ins, across);
      int out = Math.ceilDiv(outs, down);
      double time = 2.0 * w.taps() * in * out + 12.0 * in + 6.0 * out;
      if (time < least) {
        least = time;
        best = across;
      }
    }
    return best;
  }

  /** The weights of some output and input channels, {@value #CHANNELS} each. */
  private final class Share {
    private final int firstOut;
    private final int outs;
    private final int firstIn;
    private final int ins;
    private final int slabs;
    private final int panels;
    private final long gradients; // [32 channels][pixel]
    private final long inputs;
    private final long a;
    private final long b;
    private final long table;
    private final long sums; // [tap][output channel][input channel]
    private final long ldc;
    private final long tapFloats;

    Share(int firstOut, int endOut, int firstIn, int endIn, long sums) {
      this.sums = sums;
      this.firstOut = firstOut;
      this.firstIn = firstIn;
      outs = endOut - firstOut;
      ins = endIn - firstIn;
      ldc = (long) ins * CHANNELS;
      tapFloats = outs * CHANNELS * ldc;
      slabs = 2 * outs;
      panels = 2 * ins;
      gradients = Scratch.get(Scratch.Slot.COLUMNS, (long) outs * pixels * ROW);
      inputs = Scratch.get(Scratch.Slot.PIXELS, ins * groupBytes());
      a = Scratch.get(Scratch.Slot.GRADIENTS, slabs * slabBytes);
      b = Scratch.get(Scratch.Slot.TRANSFORMED, 2 * panels * pairBytes);
      table = Scratch.get(Scratch.Slot.TABLE, (slabs + 1L) * MatrixUnit.ENTRY_BYTES);
    }

    /** Input pixels of 32 channels; one more for the pairs from an odd one on. */
    private long groupBytes() {
      return (inputPixels + 1L) * ROW;
    }

    void run(long x, long dy, long dw) {
      boolean add = false;
      for (int image = 0; image < w.batch(); image += images) {
        for (int row = 0; row < w.outH(); row += rows) {
          rearrangeGradients(dy, image, row);
          for (Phase phase : phases) {
            rearrangeInputs(x, phase, image, row);
            for (int tap : phase.taps) {
              multiply(tap, add);
            }
          }
          add = true;
        }
      }
      deliver(dw);
    }

    /** One past the last image that is summed up together with a first one. */
    private int lastImage(int first) {
      return Math.min(w.batch(), first + images);
    }

    /** Output gradients as slabs, transposed. */
    private void rearrangeGradients(long dy, int firstImage, int firstRow) {
      int count = Math.ceilDiv(pixels, pitch);
      for (int line = 0; line < count; line++) {
        int image = firstImage + line / lines;
        int row = firstRow + line % lines;
        boolean inside = image < lastImage(firstImage) && row < Math.min(firstRow + rows, w.outH());
        int most = Math.min(pitch, pixels - line * pitch);
        int end = inside ? Math.min(w.outW(), most) : 0;
        long from = ((long) image * w.outH() + row) * w.outW() * w.outC() + firstOut * CHANNELS;
        int channels = w.outC() - firstOut * CHANNELS;
        long to = gradients + (long) line * pitch * ROW;
        copy(0, end, most, dy + BYTES * from, w.outC(), channels, to, (long) pixels * ROW, outs);
      }
      for (int group = 0; group < outs; group++) {
        Matrix columns =
            new Matrix(gradients + (long) group * pixels * ROW, 1, CHANNELS, 0, DType.BF16);
        HalfOperands.slabs(unit, CHANNELS, pixels, columns, a + 2 * group * slabBytes);
      }
    }

    /** What a phase reads, in pairs from even pixels on, and in pairs from odd ones on. */
    private void rearrangeInputs(long x, Phase phase, int firstImage, int firstRow) {
      int shift = phase.column - w.padLeft();
      int first = Math.ceilDiv(-shift, w.strideW());
      int last = Math.ceilDiv(w.inW() - shift, w.strideW());
      int count = Math.ceilDiv(inputPixels + 1, pitch);
      for (int line = 0; line < count; line++) {
        int image = firstImage + (images > 1 ? line / lines : 0);
        int row = images > 1 ? line % lines : line;
        int source = (firstRow + row) * w.strideH() + phase.row - w.padTop();
        boolean inside =
            image < lastImage(firstImage)
                && row < Math.min(rows, w.outH() - firstRow) + reach
                && source >= 0
                && source < w.inH();
        int most = Math.min(pitch, inputPixels + 1 - line * pitch);
        int begin = inside ? Math.clamp(first, 0, most) : 0;
        int end = inside ? Math.clamp(last, begin, most) : 0;
        long pixel = ((long) image * w.inH() + source) * w.inW() + begin * w.strideW() + shift;
        long from = pixel * w.inC() + firstIn * CHANNELS;
        int channels = w.inC() - firstIn * CHANNELS;
        long to = inputs + (long) line * pitch * ROW;
        int step = w.strideW() * w.inC();
        copy(begin, end, most, x + BYTES * from, step, channels, to, groupBytes(), ins);
      }
      for (int i = 0; i < 2 * ins; i++) {
        int group = i % ins;
        int odd = i / ins;
        long from = inputs + group * groupBytes() + odd * ROW;
        long to = b + (odd * panels + 2L * group) * pairBytes;
        long half = ROW / 2;
        unit.pairs(
            2, inputPixels / 2, from, ROW, 2 * ROW, half, to, pairBytes, SIDE, SIDE, 16 * ROW);
      }
    }

    private void multiply(int tap, boolean add) {
      int blocks = Math.ceilDiv(pixels, HalfOperands.K_BLOCK);
      int block = Math.ceilDiv(pixels / DEPTH, blocks) * DEPTH;
      int distance = distance(tap);
      for (int panel = 0; panel < panels; panel += TOGETHER) {
        long right = b + ((long) distance % 2 * panels + panel) * pairBytes;
        long c = sums + 4 * (tap * tapFloats + (long) panel * SIDE);
        for (int p = 0; p < pixels; p += block) {
          for (int s = 0; s <= slabs; s++) {
            long left = a + s * slabBytes + HalfOperands.bytes(p);
            SplitOperands.entry(table, s, left, c + 4L * s * SIDE * ldc);
          }
          unit.multiplyHalves(
              slabs,
              table,
              Math.min(block, pixels - p) / DEPTH,
              HalfProducts.IN_SLABS,
              ROW,
              Math.min(TOGETHER, panels - panel),
              right + (distance + p) / 2 * (long) ROW,
              pairBytes,
              add || p > 0 ? MatrixUnit.ADD : 0,
              4 * ldc);
        }
      }
    }

    /** The sums, rounded, in the order of weights. */
    private void deliver(long dw) {
      int first = firstIn * CHANNELS;
      int channels = Math.min(w.inC() - first, ins * CHANNELS);
      int end = Math.min(w.outC(), (firstOut + outs) * CHANNELS);
      long row = Scratch.get(Scratch.Slot.ROW, 4L * channels * w.taps());
      for (int o = firstOut * CHANNELS; o < end; o++) {
        long from = sums + 4 * (o - firstOut * CHANNELS) * ldc;
        TapRows.interleave(tile, w.taps(), channels, from, tapFloats, row);
        long to = dw + BYTES * ((long) o * w.inC() + first) * w.taps();
        casts.narrow(DType.BF16, row, to, channels * w.taps());
      }
    }
  }

  /**
   * Copies a line of pixels to {@code [32 channels][pixel]}, zeros around it.
   *
   * @param begin the first pixel
   * @param end one past the last
   * @param most pixels of a line with its zeros
   * @param from address of the first pixel's first channel
   * @param step elements from a pixel to the next
   * @param channels how many there are
   * @param to address of the line
   * @param toStep bytes from there to the next 32 channels
   * @param groups how often there are up to 32 channels
   */
  private void copy(
      int begin,
      int end,
      int most,
      long from,
      int step,
      int channels,
      long to,
      long toStep,
      int groups) {
    for (int group = 0; group < groups; group++) {
      long at = to + group * toStep;
      Memory.zero(at, (long) begin * ROW);
      Memory.zero(at + (long) end * ROW, (long) (most - end) * ROW);
    }
    if (begin < end) {
      int some = Math.min(channels, groups * CHANNELS);
      long first = to + (long) begin * ROW;
      HalfOperands.blocks(unit, end - begin, some, from, (long) BYTES * step, first, toStep);
    }
  }
}
