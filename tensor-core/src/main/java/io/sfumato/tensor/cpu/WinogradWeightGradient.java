// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The weight gradient of a 3 x 3 convolution by {@link WinogradLoops}: the gradient of a
 * transformed filter is the sum over all tiles of the products of transformed patches and
 * transformed output gradients, 16 matrix products {@code [outC, tiles] x [tiles, inC]}. A work
 * item is one row of the transformed 4 x 4 matrices, some input channels and a part of the tiles;
 * parts are added in order and depend on the sizes alone.
 */
final class WinogradWeightGradient {
  /** Input channels that share the transformed gradients of a block, if there are as many. */
  private static final int SHARING = 64;

  /** Floats of transformed gradients of a block. */
  private static final int BLOCK_FLOATS = 1 << 16;

  private static final int MIN_TILES = 32;
  private static final int MAX_TILES = 128;

  /** Work items wanted; beyond it a processor's cores have no more to share. */
  private static final int ITEMS = 16;

  /** Tiles of a part: with fewer, adding the parts takes a tenth of the time. */
  private static final int PART_TILES = 512;

  private final GemmTile tile;
  private final WinogradLoops loops;
  private final ConvWindow w;
  private final int full;
  private final int panels;
  private final int perItem;
  private final int groups;
  private final int block;
  private final int blocks;
  private final int parts;
  private final WinogradTiles tiles;
  private final int count;
  private final long partFloats;
  private final long partials;

  /**
   * Prepares the gradient.
   *
   * @param simd the innermost loops
   * @param w the sizes of the forward convolution
   */
  WinogradWeightGradient(SimdProvider simd, ConvWindow w) {
    this.tile = simd.gemmTile();
    this.loops = simd.winograd();
    this.w = w;
    int most = Math.max(w.inC(), w.outC());
    long zeros = Scratch.get(Scratch.Slot.PARAMETERS, 4L * most);
    Memory.zero(zeros, 4L * most);
    tiles = new WinogradTiles(loops, w, zeros);
    count = tiles.count();
    full = Panels.fullWidth(tile);
    panels = Panels.count(tile, w.inC());
    perItem = Math.max(1, SHARING / full);
    groups = (panels + perItem - 1) / perItem;
    block = Math.clamp(BLOCK_FLOATS / (4 * w.outC()), MIN_TILES, MAX_TILES);
    blocks = (count + block - 1) / block;
    int wanted = (ITEMS + 4 * groups - 1) / (4 * groups);
    parts = Math.clamp(wanted, 1, Math.max(1, count / PART_TILES));
    partFloats = 16 * Panels.floats(tile, w.outC(), w.inC());
    partials = Scratch.get(Scratch.Slot.PARTIAL_SUMS, 4 * partFloats * parts);
  }

  /**
   * Computes the gradient.
   *
   * @param x address of the input
   * @param dy address of the output gradient
   * @param dw address of the result
   */
  void run(long x, long dy, long dw) {
    Parallel.forRange(
        parts * groups * 4,
        1,
        (begin, end, worker) -> {
          for (int item = begin; item < end; item++) {
            int part = item / (4 * groups);
            int from = part * blocks / parts;
            int to = (part + 1) * blocks / parts;
            for (int i = from; i < to; i++) {
              block(x, dy, part, item / 4 % groups, item % 4, i * block, i > from);
            }
          }
        });
    int rows = panels * w.outC();
    Parallel.forRange(
        rows,
        (long) w.inC() * w.outC() < 1 << 11 ? rows : 4,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            finish(i / w.outC() * full, i % w.outC(), dw);
          }
        });
  }

  /** Address of the sums {@code [4 r + s][outC][width]} of a part and panel. */
  private long sums(int part, int column) {
    return partials + 4 * (part * partFloats + 16L * column * w.outC());
  }

  private void block(long x, long dy, int part, int group, int row, int first, boolean add) {
    int last = Math.min(count, first + block);
    int size = last - first;
    int height = Panels.width(tile, w.outC());
    int odd = tile.lanes(); // the elements of a tile must not all share one set of the cache
    long gradientStep = (long) size * height + odd;
    long gradients = Scratch.get(Scratch.Slot.TRANSFORMED_OUTPUT, 16 * gradientStep);
    tiles.gradient(dy, first, last, row, gradients, height, gradientStep);
    for (int panel = group * perItem; panel < Math.min(panels, (group + 1) * perItem); panel++) {
      int column = panel * full;
      int columns = Math.min(full, w.inC() - column);
      int width = Panels.width(tile, columns);
      long step = (long) size * width + odd;
      long patches = Scratch.get(Scratch.Slot.TRANSFORMED, 16 * step);
      tiles.input(x + 4L * column, first, last, row, columns, patches, width, step);
      long rowFloats = (long) w.outC() * width;
      for (int s = 0; s < 4; s++) {
        Panels.multiply(
            tile,
            w.outC(),
            width,
            size,
            gradients + 4 * s * gradientStep,
            tile.maxRows(),
            1,
            height,
            patches + 4 * s * step,
            width,
            sums(part, column) + 4 * (4 * row + s) * rowFloats,
            width,
            add);
      }
    }
  }

  /** Adds the parts of one output channel and some input channels, and transforms them back. */
  private void finish(int column, int channel, long dw) {
    int columns = Math.min(full, w.inC() - column);
    int width = Panels.width(tile, columns);
    long rowFloats = (long) w.outC() * width;
    long sums = sums(0, column) + 4L * channel * width;
    for (int part = 1; part < parts; part++) {
      tile.addRows(16, width, sums + 4 * part * partFloats, rowFloats, sums, rowFloats);
    }
    long taps = Scratch.get(Scratch.Slot.TRANSFORMED, 36L * full);
    loops.weightGradient(sums, rowFloats, width, taps, width);
    long to = dw + 36L * ((long) channel * w.inC() + column);
    TapRows.interleave(tile, 9, columns, taps, width, to);
  }
}
