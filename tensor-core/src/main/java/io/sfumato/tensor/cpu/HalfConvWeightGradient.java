// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.cpu.Gemm.Matrix;

/**
 * The weight gradient of a convolution of bfloat16 with stride 1, on a {@link HalfUnit}: for each
 * tap the product of the transposed output gradient with the input, summed over pixels.
 *
 * <p>Pixels are counted in the bordered image, where a tap is a distance. Output gradients are zero
 * on the border. Input pixels are paired twice, from an even and from an odd one on, so that a tile
 * begins at any pixel. (So an infinity in the input can turn weights of its channel to NaN whose
 * tap does not see it.) Sums are f32, in an order that depends on the sizes alone.
 */
final class HalfConvWeightGradient {
  /** Pixels that are summed up at a time, about. */
  private static final int PIXELS = 640;

  /** Panels of a work item. */
  private static final int ITEM_PANELS = 4;

  private static final int SIDE = MatrixUnit.SIDE;
  private static final int DEPTH = MatrixUnit.DEPTH;
  private static final int ROW = MatrixUnit.ROW_BYTES;
  private static final int BYTES = Short.BYTES;

  private final HalfUnit unit;
  private final ConvWindow w;
  private final int pitch;
  private final int images; // of a chunk
  private final int rows; // of an image
  private final int imagePixels;
  private final int pixels; // summed over
  private final int inputPixels;
  private final int slabs;
  private final int panels;
  private final long pairBytes; // of a panel

  HalfConvWeightGradient(HalfUnit unit, ConvWindow w) {
    this.unit = unit;
    this.w = w;
    pitch = w.spanW();
    int whole = w.spanH(w.outH()) * pitch;
    images = Math.clamp(PIXELS / whole, 1, w.batch());
    rows = images > 1 ? w.outH() : Math.clamp(PIXELS / pitch, 1, w.outH());
    imagePixels = images > 1 ? whole : rows * pitch;
    pixels = (images * imagePixels + DEPTH - 1) / DEPTH * DEPTH;
    inputPixels = (pixels + distance(w.taps() - 1) + 3) / 2 * 2;
    slabs = SplitOperands.count(w.outC());
    panels = SplitOperands.count(w.inC());
    pairBytes = (long) inputPixels / 2 * ROW;
  }

  /** Whether a convolution's gradient can be computed so. */
  static boolean canServe(ConvWindow w) {
    return w.groups() == 1 && w.strideH() == 1 && w.strideW() == 1;
  }

  /** Pixels from an output to the input that a tap reads. */
  private int distance(int tap) {
    return tap / w.kW() * w.dilationH() * pitch + tap % w.kW() * w.dilationW();
  }

  /**
   * Computes the gradient.
   *
   * @param x address of the input {@code [batch, inH, inW, inC]}
   * @param dy address of the output gradient {@code [batch, outH, outW, outC]}
   * @param dw address of the result {@code [outC, inC, kH, kW]}
   */
  void run(long x, long dy, long dw) {
    long ldc = (long) panels * SIDE;
    long tapFloats = slabs * SIDE * ldc;
    Storage sums = CpuBackend.instance().allocate(4 * w.taps() * tapFloats);
    try {
      long a = Scratch.get(Scratch.Slot.GRADIENTS, slabs * HalfOperands.bytes(pixels));
      long b = Scratch.get(Scratch.Slot.TRANSFORMED, 2 * panels * pairBytes);
      boolean first = true;
      for (int image = 0; image < w.batch(); image += images) {
        for (int row = 0; row < w.outH(); row += rows) {
          rearrange(x, dy, image, row, a, b);
          multiply(a, b, first, sums.address(), ldc, tapFloats);
          first = false;
        }
      }
      deliver(sums.address(), ldc, tapFloats, dw);
    } finally {
      sums.release();
    }
  }

  /** Output gradients as slabs, input pixels in pairs. */
  private void rearrange(long x, long dy, int image, int row, long a, long b) {
    long gradients = Scratch.get(Scratch.Slot.COLUMNS, (long) BYTES * pixels * w.outC());
    long inputs = Scratch.get(Scratch.Slot.PIXELS, (long) BYTES * (inputPixels + 1) * w.inC());
    Parallel.forRange(
        2,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            if (i == 0) {
              copyGradients(dy, image, row, gradients);
            } else {
              copyInputs(x, image, row, inputs);
            }
          }
        });
    int items = slabs + 2 * panels;
    Parallel.forRange(
        items,
        Math.max(1, items / (4 * Parallel.threads())),
        (begin, end, worker) -> {
          int slab = Math.min(begin, slabs);
          int lastSlab = Math.min(end, slabs);
          if (slab < lastSlab) {
            int some = Math.min(w.outC(), lastSlab * SIDE) - slab * SIDE;
            long from = gradients + (long) BYTES * slab * SIDE;
            Matrix block = new Matrix(from, 1, w.outC(), 0, DType.BF16);
            long to = a + slab * HalfOperands.bytes(pixels);
            HalfOperands.slabs(unit, some, pixels, block, to);
          }
          for (int i = Math.max(begin, slabs); i < end; i++) {
            int panel = (i - slabs) % panels;
            int odd = (i - slabs) / panels;
            long step = (long) BYTES * w.inC();
            long from = inputs + odd * step + (long) BYTES * panel * SIDE;
            long to = b + (odd * panels + panel) * pairBytes;
            int lanes = Math.min(SIDE, w.inC() - panel * SIDE);
            unit.pairs(1, inputPixels / 2, from, step, 2 * step, 0, to, 0, lanes, lanes, 16 * step);
          }
        });
  }

  private void copyGradients(long dy, int image, int row, long to) {
    long pixel = (long) BYTES * w.outC();
    Memory.zero(to, pixels * pixel);
    for (int i = 0; i < Math.min(images, w.batch() - image); i++) {
      for (int r = row; r < Math.min(w.outH(), row + rows); r++) {
        long from = dy + (((long) image + i) * w.outH() + r) * w.outW() * pixel;
        long at = to + ((long) i * imagePixels + (long) (r - row) * pitch) * pixel;
        Memory.copy(from, at, w.outW() * pixel);
      }
    }
  }

  private void copyInputs(long x, int image, int row, long to) {
    long pixel = (long) BYTES * w.inC();
    Memory.zero(to, (inputPixels + 1) * pixel);
    int begin = Math.clamp(w.padLeft(), 0, pitch);
    int end = Math.clamp(w.inW() + (long) w.padLeft(), begin, pitch);
    for (int i = 0; i < Math.min(images, w.batch() - image); i++) {
      for (int r = 0; r < w.spanH(Math.min(rows, w.outH() - row)); r++) {
        int source = row - w.padTop() + r;
        if (source >= 0 && source < w.inH()) {
          long line = ((long) (image + i) * w.inH() + source) * w.inW();
          long from = x + (line + begin - w.padLeft()) * pixel;
          long at = to + ((long) i * imagePixels + (long) r * pitch + begin) * pixel;
          Memory.copy(from, at, (end - begin) * pixel);
        }
      }
    }
  }

  private void multiply(long a, long b, boolean first, long sums, long ldc, long tapFloats) {
    int groups = (panels + ITEM_PANELS - 1) / ITEM_PANELS;
    long slabBytes = HalfOperands.bytes(pixels);
    Parallel.forRange(
        groups * w.taps(),
        1,
        (begin, end, worker) -> {
          long table = Scratch.get(Scratch.Slot.TABLE, (slabs + 1L) * MatrixUnit.ENTRY_BYTES);
          for (int i = begin; i < end; i++) {
            int tap = i % w.taps();
            int panel = i / w.taps() * ITEM_PANELS;
            int some = Math.min(ITEM_PANELS, panels - panel);
            int distance = distance(tap);
            long right = b + ((long) distance % 2 * panels + panel) * pairBytes;
            long c = sums + 4 * (tap * tapFloats + (long) panel * SIDE);
            for (int p = 0; p < pixels; p += HalfOperands.K_BLOCK) {
              for (int s = 0; s <= slabs; s++) {
                long left = a + s * slabBytes + HalfOperands.bytes(p);
                SplitOperands.entry(table, s, left, c + 4L * s * SIDE * ldc);
              }
              unit.multiplyHalves(
                  slabs,
                  table,
                  Math.min(HalfOperands.K_BLOCK, pixels - p) / DEPTH,
                  HalfProducts.IN_SLABS,
                  ROW,
                  some,
                  right + (distance + p) / 2 * (long) ROW,
                  pairBytes,
                  first && p == 0 ? 0 : MatrixUnit.ADD,
                  4 * ldc);
            }
          }
        });
  }

  /** The sums, rounded, in the order of weights. */
  private void deliver(long sums, long ldc, long tapFloats, long dw) {
    int taps = w.taps();
    int length = w.inC() * taps;
    Parallel.forRange(
        w.outC(),
        Loops.rowGrain(length),
        (begin, end, worker) -> {
          long row = Scratch.get(Scratch.Slot.ROW, 4L * length);
          for (int o = begin; o < end; o++) {
            for (int tap = 0; tap < taps; tap++) {
              long from = sums + 4 * (tap * tapFloats + o * ldc);
              for (int c = 0; c < w.inC(); c++) {
                Memory.putInt(row + 4L * (c * taps + tap), Memory.getInt(from + 4L * c));
              }
            }
            long to = dw + (long) BYTES * o * length;
            Loops.leaf().casts().narrow(DType.BF16, row, to, length);
          }
        });
  }
}
