// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * A 3 x 3 convolution by {@link WinogradLoops}. A worker takes a block of tiles, transforms their
 * patches, and for one panel of output channels after another forms 16 matrix products {@code
 * [tiles, inC] x [inC, panel]} and transforms them back into the output; all of a block stays in
 * the L2 cache.
 */
final class WinogradForward {
  /** Floats of transformed patches of a block. */
  private static final int BLOCK_FLOATS = 1 << 17;

  private static final int MIN_TILES = 16;
  private static final int MAX_TILES = 96;

  /** Filters are transformed for so many input channels at a time. */
  private static final int CHANNELS = 32;

  private final GemmTile tile;
  private final WinogradLoops loops;
  private final ConvWindow w;
  private final long weights;

  /**
   * Prepares a convolution.
   *
   * @param simd the innermost loops
   * @param w the sizes
   * @param weights address of {@link #weightFloats} floats of transformed filters
   */
  WinogradForward(SimdProvider simd, ConvWindow w, long weights) {
    this.tile = simd.gemmTile();
    this.loops = simd.winograd();
    this.w = w;
    this.weights = weights;
  }

  /** The floats of the transformed filters. */
  static long weightFloats(SimdProvider simd, ConvWindow w) {
    return 16 * Panels.floats(simd.gemmTile(), w.inC(), w.outC());
  }

  /** Address of the filters of one panel, {@code [4 r + s][inC][width]}. */
  private long panel(int firstColumn) {
    return weights + 64L * firstColumn * w.inC();
  }

  /**
   * Transforms the filters.
   *
   * @param from address of the weight of output 0, input 0, tap 0
   * @param outStride floats between output channels
   * @param inStride floats between input channels
   * @param flipped whether the taps come in reverse order
   */
  void packWeights(long from, long outStride, long inStride, boolean flipped) {
    int full = Panels.fullWidth(tile);
    int panels = Panels.count(tile, w.outC());
    int chunks = (w.inC() + CHANNELS - 1) / CHANNELS;
    int items = panels * chunks;
    Parallel.forRange(
        items,
        (long) w.inC() * w.outC() < 1 << 11 ? items : 1,
        (begin, end, worker) -> {
          long taps = Scratch.get(Scratch.Slot.TRANSFORMED, 36L * CHANNELS * full);
          for (int i = begin; i < end; i++) {
            int column = i / chunks * full;
            int channel = i % chunks * CHANNELS;
            int columns = Math.min(full, w.outC() - column);
            int channels = Math.min(CHANNELS, w.inC() - channel);
            int width = Panels.width(tile, columns);
            int floats = channels * width;
            long source = from + 4 * (column * outStride + channel * inStride);
            for (int tap = 0; tap < 9; tap++) {
              Panels.pack(
                  tile,
                  channels,
                  columns,
                  source + 4L * (flipped ? 8 - tap : tap),
                  inStride,
                  outStride,
                  taps + 4L * tap * floats);
            }
            long to = panel(column) + 4L * channel * width;
            loops.weights(taps, floats, floats, to, (long) w.inC() * width);
          }
        });
  }

  /**
   * Computes the convolution.
   *
   * @param x address of the input
   * @param bias address of the bias, or 0
   * @param y address of the output
   */
  void run(long x, long bias, long y) {
    int most = Math.max(w.inC(), w.outC());
    long zeros = Scratch.get(Scratch.Slot.PARAMETERS, 4L * most);
    Memory.zero(zeros, 4L * most);
    WinogradTiles tiles = new WinogradTiles(loops, w, zeros);
    int count = tiles.count();
    int panels = Panels.count(tile, w.outC());
    int threads = Parallel.threads();
    int block = Math.clamp(BLOCK_FLOATS / (16 * w.inC()), MIN_TILES, MAX_TILES);
    // workers share the larger operand: the tiles, or the filters by panels
    int shares = count < w.outC() ? (2 * threads + panels - 1) / panels : 2 * threads;
    int perWorker = (count + shares - 1) / shares;
    block = threads == 1 ? block : Math.clamp(perWorker, Math.min(MIN_TILES, block), block);
    block = Panels.wholeTiles(tile, block);
    int tileBlock = block;
    int blocks = (count + block - 1) / block;
    int split = Math.clamp(2L * threads / blocks, 1, panels);
    int items = blocks * split;
    Parallel.forRange(
        items,
        1,
        (begin, end, worker) -> {
          for (int item = begin; item < end; item++) {
            int first = item / split * tileBlock;
            int part = item % split;
            block(
                tiles,
                first,
                Math.min(count, first + tileBlock),
                part * panels / split,
                (part + 1) * panels / split,
                x,
                bias,
                y);
          }
        });
  }

  private void block(
      WinogradTiles tiles,
      int first,
      int last,
      int firstPanel,
      int lastPanel,
      long x,
      long bias,
      long y) {
    int count = last - first;
    int full = Panels.fullWidth(tile);
    int depth = Panels.width(tile, w.inC());
    int odd = tile.lanes(); // the elements of a tile must not all share one set of the cache
    long step = (long) count * depth + odd;
    long patches = Scratch.get(Scratch.Slot.TRANSFORMED, 64 * step);
    for (int row = 0; row < 4; row++) {
      tiles.input(x, first, last, row, w.inC(), patches + 16 * row * step, depth, step);
    }
    for (int panel = firstPanel; panel < lastPanel; panel++) {
      int column = panel * full;
      int columns = Math.min(full, w.outC() - column);
      int width = Panels.width(tile, columns);
      long outStep = (long) count * width + odd;
      // the products of one column, then the sums of all columns, then a pixel
      long products = Scratch.get(Scratch.Slot.TRANSFORMED_OUTPUT, 48 * outStep + 4L * full);
      long sums = products + 16 * outStep;
      for (int s = 0; s < 4; s++) {
        for (int r = 0; r < 4; r++) {
          int e = 4 * r + s;
          multiply(
              count,
              width,
              patches + 4 * e * step,
              depth,
              panel(column) + 4L * e * w.inC() * width,
              products + 4 * r * outStep);
        }
        long to = sums + 4 * s * outStep;
        loops.outputRows(count * width, products, outStep, to, to + 16 * outStep);
      }
      tiles.output(
          sums,
          width,
          outStep,
          first,
          last,
          bias == 0 ? tiles.zeros() : bias + 4L * column,
          columns,
          y + 4L * column,
          products + 48 * outStep);
    }
  }

  private void multiply(int rows, int width, long left, long depth, long right, long to) {
    int kBlock = Gemm.kBlock(w.inC());
    for (int p = 0; p < w.inC(); p += kBlock) {
      Panels.multiply(
          tile,
          rows,
          width,
          Math.min(kBlock, w.inC() - p),
          left + 4L * p,
          tile.maxRows() * depth,
          depth,
          1,
          right + 4L * p * width,
          width,
          to,
          width,
          p > 0);
    }
  }
}
