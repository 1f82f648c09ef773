// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The weight gradient of a convolution, {@code dW[o, q] = sum over pixels of dY[pixel, o] *
 * X[pixel, q]} with {@code q} counting taps and input channels. The output gradient is rearranged
 * to slabs and the images get their zero border once; each worker then takes some columns {@code q}
 * and sums over the pixels. When there are few columns the pixels are cut into parts whose sums are
 * added in order; the number of parts depends on the sizes alone, so the result does not depend on
 * the threads.
 */
final class ConvWeightGradient {
  /** Pixels multiplied at a time, about. */
  private static final int BLOCK_PIXELS = 256;

  /** Floats of bordered images, and of output gradients, held at a time. */
  private static final long CHUNK_FLOATS = 4L << 20;

  /** Work items wanted; beyond it a processor's cores have no more to share. */
  private static final int ITEMS = 32;

  private final GemmTile tile;
  private final ConvWindow w;
  private final long x;
  private final long dy;
  private final long dw;
  private final int full;
  private final int panels;
  private final int height;
  private final int slabs;
  private final int blockRows;
  private final int parts;
  private final int depth;
  private final long partFloats;
  private final long partials;

  ConvWeightGradient(GemmTile tile, ConvGeometry g, long x, long dy, long dw) {
    this.tile = tile;
    this.w = ConvWindow.forward(g);
    this.x = x;
    this.dy = dy;
    this.dw = dw;
    depth = w.depth();
    full = Panels.fullWidth(tile);
    panels = Panels.count(tile, depth);
    height = tile.maxRows();
    slabs = (w.groupOutC() + height - 1) / height;
    blockRows = Math.max(1, BLOCK_PIXELS / w.outW());
    int blocks = (chunk() * w.outH() + blockRows - 1) / blockRows;
    int columns = w.groups() * panels;
    parts = Math.clamp((ITEMS + columns - 1) / columns, 1, Math.max(1, blocks));
    partFloats = (long) w.outC() * depth;
    partials = Scratch.get(Scratch.Slot.PARTIAL_SUMS, 4 * partFloats * parts);
  }

  /** Images per chunk. */
  private int chunk() {
    long bordered = (long) w.spanH(w.outH()) * w.rowFloats();
    long gradients = (long) w.outH() * w.outW() * w.outC();
    return (int)
        Math.clamp(CHUNK_FLOATS / Math.max(bordered, gradients), 1, Math.max(1, w.batch()));
  }

  void run() {
    if (w.batch() == 0) {
      Memory.zero(dw, 4 * partFloats);
      return;
    }
    int chunk = chunk();
    for (int first = 0; first < w.batch(); first += chunk) {
      images(first, Math.min(chunk, w.batch() - first));
    }
    reduce();
  }

  private void images(int first, int count) {
    long imageFloats =
        w.inside() ? (long) w.inH() * w.inW() * w.inC() : (long) w.spanH(w.outH()) * w.rowFloats();
    long images = x + 4L * first * w.inH() * w.inW() * w.inC();
    long bordered = w.inside() ? images : border(images, count, imageFloats);
    int rows = count * w.outH();
    long slabRow = (long) w.groups() * slabs * height;
    long gradients = Scratch.get(Scratch.Slot.GRADIENTS, 4 * slabRow * rows * w.outW());
    int blocks = (rows + blockRows - 1) / blockRows;
    Parallel.forRange(
        blocks, 1, (begin, end, worker) -> packGradients(first, rows, begin, end, gradients));
    int perPart = w.groups() * panels;
    Parallel.forRange(
        parts * perPart,
        1,
        (begin, end, worker) -> {
          for (int item = begin; item < end; item++) {
            int part = item / perPart;
            int group = item % perPart / panels;
            int column = item % panels * full;
            for (int block = part * blocks / parts; block < (part + 1) * blocks / parts; block++) {
              boolean add = first > 0 || block > part * blocks / parts;
              multiply(bordered, imageFloats, gradients, rows, block, group, column, part, add);
            }
            if (first == 0 && part * blocks / parts == (part + 1) * blocks / parts) {
              clear(group, column, part);
            }
          }
        });
  }

  private long border(long images, int count, long imageFloats) {
    long bordered = Scratch.get(Scratch.Slot.PIXELS, 4 * imageFloats * count);
    long bytes = 4L * w.inH() * w.inW() * w.inC();
    Parallel.forRange(
        count,
        1,
        (begin, end, worker) -> {
          for (int n = begin; n < end; n++) {
            w.copyStrip(images + n * bytes, 0, w.outH(), bordered + 4 * imageFloats * n);
          }
        });
    return bordered;
  }

  /** Output gradients of some blocks as {@code [block][group][slab][pixel][height]}. */
  private void packGradients(int first, int rows, int begin, int end, long gradients) {
    for (int block = begin; block < end; block++) {
      int row = block * blockRows;
      int pixels = Math.min(blockRows, rows - row) * w.outW();
      long from = dy + 4L * ((long) first * w.outH() + row) * w.outW() * w.outC();
      for (int group = 0; group < w.groups(); group++) {
        for (int slab = 0; slab < slabs; slab++) {
          int channel = slab * height;
          Panels.packSlab(
              tile,
              Math.min(height, w.groupOutC() - channel),
              pixels,
              from + 4L * (group * w.groupOutC() + channel),
              1,
              w.outC(),
              slab(gradients, row, pixels, group) + 4L * slab * pixels * height);
        }
      }
    }
  }

  private long slab(long gradients, int row, int pixels, int group) {
    long before = (long) row * w.outW() * w.groups() + (long) group * pixels;
    return gradients + 4 * before * slabs * height;
  }

  /** Adds one block of pixels to the columns {@code column} to {@code column + full}. */
  private void multiply(
      long bordered,
      long imageFloats,
      long gradients,
      int rows,
      int block,
      int group,
      int column,
      int part,
      boolean add) {
    int row = block * blockRows;
    int count = Math.min(blockRows, rows - row);
    int pixels = count * w.outW();
    int columns = Math.min(full, depth - column);
    int width = Panels.width(tile, columns);
    long panel = Scratch.get(Scratch.Slot.COLUMNS, 4L * blockRows * w.outW() * full);
    for (int r = 0; r < count; r++) {
      int image = (row + r) / w.outH();
      int oh = (row + r) % w.outH();
      long seen = bordered + 4 * (image * imageFloats + (long) oh * w.strideH() * w.rowFloats());
      long to = panel + 4L * r * w.outW() * width;
      w.unfold(tile, group, column, column + columns, seen, to, width);
    }
    Panels.multiply(
        tile,
        w.groupOutC(),
        columns,
        pixels,
        slab(gradients, row, pixels, group),
        (long) pixels * height,
        1,
        height,
        panel,
        width,
        partial(group, column, part),
        depth,
        add);
  }

  private long partial(int group, int column, int part) {
    return partials + 4 * (part * partFloats + (long) group * w.groupOutC() * depth + column);
  }

  private void clear(int group, int column, int part) {
    int columns = Math.min(full, depth - column);
    for (int o = 0; o < w.groupOutC(); o++) {
      Memory.zero(partial(group, column, part) + 4L * o * depth, 4L * columns);
    }
  }

  /** Adds the parts in order and turns {@code [o, tap, channel]} to {@code [o, channel, tap]}. */
  private void reduce() {
    int taps = w.taps();
    int channels = w.groupInC();
    Parallel.forRange(
        w.outC(),
        Math.max(1, 4096 / depth),
        (begin, end, worker) -> {
          for (int o = begin; o < end; o++) {
            long sums = partials + 4L * o * depth;
            for (int part = 1; part < parts; part++) {
              tile.addRows(1, depth, sums + 4 * part * partFloats, 0, sums, 0);
            }
            long to = dw + 4L * o * depth;
            TapRows.interleave(tile, taps, channels, sums, channels, to);
          }
        });
  }
}
