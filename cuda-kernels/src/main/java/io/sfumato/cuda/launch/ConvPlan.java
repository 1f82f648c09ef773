// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import java.util.List;

/**
 * A tile of a convolution's product that one block computes, and into how many parts the sums are
 * split: those that take the least time by a model of the device.
 *
 * @param tile the tile
 * @param splits parts of each sum
 * @param micros the time that the model expects
 */
record ConvPlan(Tile tile, int splits, double micros) {
  private static final int MOST_SPLITS = 32;
  private static final int LEAST_STAGES = 2; // that a part has
  private static final long MOST_PARTS = 256L << 20; // bytes
  // microseconds, and bytes per microsecond, as measured on an H200
  private static final double LAUNCH = 2.5;
  private static final double START = 1.5; // and end of a block
  private static final double BANDWIDTH = 3e6;

  /**
   * Tiles for 16-bit and tf32 products. {@code stage} is the time that a multiprocessor spends on a
   * stage (64 bytes of the axis that is summed), {@code least} what passes until the next begins.
   */
  static final Tile T128X128 = new Tile("128x128", 128, 128, 2, 0.5, 0.6);

  /** The same tile by eight warps, which hide more of each other's waiting but read more. */
  static final Tile EIGHT = new Tile("eight", 128, 128, 2, 0.5, 0.6);

  static final Tile T128X64 = new Tile("128x64", 128, 64, 3, 0.28, 0.45);
  static final Tile T64X128 = new Tile("64x128", 64, 128, 3, 0.28, 0.45);
  static final Tile T64X64 = new Tile("64x64", 64, 64, 4, 0.16, 0.35);
  static final Tile T128X32 = new Tile("128x32", 128, 32, 4, 0.17, 0.35);

  /** The tile that is fetched value by value. */
  static final Tile NARROW = new Tile("narrow", 64, 64, 4, 0.8, 2);

  /**
   * One tile of rows and columns.
   *
   * @param name as in the names of kernels
   * @param rows its rows
   * @param columns its columns
   * @param resident blocks that a multiprocessor holds
   * @param stage microseconds of a multiprocessor for a stage
   * @param least microseconds of a block for a stage
   */
  record Tile(String name, int rows, int columns, int resident, double stage, double least) {}

  /**
   * What is computed.
   *
   * @param rows rows of the result
   * @param columns columns of the result
   * @param copies results of that size
   * @param stages stages of the sum
   * @param always whether sums are gathered by a second kernel even if they are whole
   */
  record Product(long rows, long columns, long copies, long stages, boolean always) {
    long outputs() {
      return rows * columns * copies;
    }
  }

  /** The fastest of some tiles, and of numbers of parts. */
  static ConvPlan best(List<Tile> tiles, Product p, int multiprocessors) {
    ConvPlan best = null;
    for (Tile tile : tiles) {
      long most = Math.min(p.stages() / LEAST_STAGES, MOST_PARTS / (4 * p.outputs()));
      for (int splits = 1; splits <= Math.max(1, Math.min(most, MOST_SPLITS)); splits++) {
        double micros = time(tile, p, splits, multiprocessors);
        if (best == null || micros < best.micros()) {
          best = new ConvPlan(tile, splits, micros);
        }
      }
    }
    if (best == null) {
      throw new IllegalArgumentException("no tiles");
    }
    return best;
  }

  private static double time(Tile tile, Product p, int splits, int multiprocessors) {
    long tiles = Math.ceilDiv(p.rows(), tile.rows()) * Math.ceilDiv(p.columns(), tile.columns());
    long blocks = tiles * p.copies() * splits;
    long wave = (long) multiprocessors * tile.resident();
    long stages = Math.ceilDiv(p.stages(), splits);
    double micros = LAUNCH + blocks / wave * wave(tile, stages, tile.resident());
    if (blocks % wave > 0) {
      micros += wave(tile, stages, Math.ceilDiv(blocks % wave, multiprocessors));
    }
    if (splits > 1 || p.always()) {
      micros += LAUNCH + 8.0 * splits * p.outputs() / BANDWIDTH;
    }
    return micros;
  }

  private static double wave(Tile tile, long stages, long blocks) {
    return START + stages * Math.max(tile.least(), blocks * tile.stage());
  }
}
