// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import org.jspecify.annotations.Nullable;

/**
 * How blocks share a sample in group normalisation: {@code struct Slabs} of {@code groupnorm.cuh}.
 *
 * @param channels channels of the sample
 * @param groups groups of channels
 * @param per channels per group
 * @param tile channels of a block, whole groups
 * @param columns threads across the tile
 * @param lanes threads along the rows
 * @param rows pixels, or vectors of pixels in channels-first order
 * @param chunks blocks along the rows
 * @param chunk rows of a block
 * @param pixels pixels of the sample
 * @param vectors vectors per thread where a block keeps its rows in registers, else 0
 */
record GroupNormSlabs(
    int channels,
    int groups,
    int per,
    int tile,
    int columns,
    int lanes,
    int rows,
    int chunks,
    int chunk,
    int pixels,
    int vectors) {
  private static final int MOST_VECTORS = 16;
  private static final int WIDEST_TILE = 128; // bytes: a line of the cache

  /**
   * What is to be normalised.
   *
   * @param samples the number of samples
   * @param channels channels of each
   * @param groups groups of channels
   * @param pixels pixels of each
   * @param last whether neighbours in memory are channels
   * @param width values in 16 bytes
   */
  record Problem(int samples, int channels, int groups, int pixels, boolean last, int width) {
    int per() {
      return channels / groups;
    }

    /** Whether threads can take 16 bytes at a time. */
    boolean wide() {
      return (last ? channels : pixels) % width == 0;
    }

    /** The same with other samples. */
    Problem with(int some) {
      return new Problem(some, channels, groups, pixels, last, width);
    }

    /** Bytes of a sample. */
    long bytes() {
      return 16L * channels * pixels / width;
    }

    private int rows() {
      return last ? pixels : pixels / width;
    }

    /** The narrowest tile of whole groups and whole vectors. */
    int narrowest() {
      return last ? per() / gcd(per(), width) * width : per();
    }

    private int columns(int tile) {
      return last ? tile / width : tile;
    }

    private static int gcd(int a, int b) {
      return b == 0 ? a : gcd(b, a % b);
    }
  }

  /**
   * Blocks that keep all rows of a tile in registers, or null if they cannot.
   *
   * @param p the problem
   * @param threads the most threads of a block
   * @param processors blocks should be at least two for each, where tiles can be wide or narrow
   */
  static @Nullable GroupNormSlabs fused(Problem p, int threads, int processors) {
    int tile = p.narrowest();
    if (!p.wide() || vectors(p, tile, threads) > MOST_VECTORS) {
      return null;
    }
    int bytes = 16 / p.width;
    for (int wider = 2 * tile; p.last && wider * bytes <= WIDEST_TILE; wider += p.narrowest()) {
      if (p.channels % wider == 0
          && vectors(p, wider, threads) <= MOST_VECTORS
          && (long) p.samples * (p.channels / wider) >= 2L * processors) {
        tile = wider;
      }
    }
    int vectors = 1;
    while (vectors < vectors(p, tile, threads)) {
      vectors *= 2;
    }
    int lanes = (p.rows() + vectors - 1) / vectors;
    return of(p, tile, lanes, 1, vectors);
  }

  /** Vectors per thread; too many if the tile is wider than a block. */
  private static int vectors(Problem p, int tile, int threads) {
    int lanes = threads / p.columns(tile);
    return lanes == 0 ? Integer.MAX_VALUE : (p.rows() + lanes - 1) / lanes;
  }

  /**
   * Blocks that walk over chunks of the rows, or null if there is no such way.
   *
   * @param p the problem
   * @param threads the most threads of a block
   * @param blocks how many blocks there should be, about
   */
  static @Nullable GroupNormSlabs chunked(Problem p, int threads, int blocks) {
    int narrowest = p.narrowest();
    if (!p.wide() || p.columns(narrowest) > threads) {
      return null;
    }
    int tile = narrowest;
    for (int wider = tile; p.last && p.columns(wider) <= threads; wider += narrowest) {
      if (p.channels % wider == 0) {
        tile = wider;
      }
    }
    int lanes = threads / p.columns(tile);
    if (!p.last && lanes > 32) {
      lanes = lanes / 32 * 32;
    }
    lanes = Math.min(lanes, p.rows());
    long tiles = (long) p.samples * (p.channels / tile);
    int chunks = (int) Math.clamp(blocks / tiles, 1, (p.rows() + 4L * lanes - 1) / (4L * lanes));
    return of(p, tile, lanes, chunks, 0);
  }

  /**
   * Blocks that walk over exactly so many chunks of the rows, or null if there are too few rows or
   * the tile is wider than a block.
   *
   * @param p the problem
   * @param tile channels of a block
   * @param chunks chunks of the rows
   * @param threads the most threads of a block
   */
  static @Nullable GroupNormSlabs clustered(Problem p, int tile, int chunks, int threads) {
    int most = threads / p.columns(tile);
    int chunk = (p.rows() + chunks - 1) / chunks;
    if (most == 0 || (chunks - 1) * chunk >= p.rows()) {
      return null;
    }
    int steps = (chunk + most - 1) / most;
    return of(p, tile, (chunk + steps - 1) / steps, chunks, 0);
  }

  private static GroupNormSlabs of(Problem p, int tile, int lanes, int chunks, int vectors) {
    int chunk = (p.rows() + chunks - 1) / chunks;
    return new GroupNormSlabs(
        p.channels,
        p.groups,
        p.per(),
        tile,
        p.columns(tile),
        lanes,
        p.rows(),
        (p.rows() + chunk - 1) / chunk,
        chunk,
        p.pixels,
        vectors);
  }

  /** The fields of the struct. */
  int[] ints() {
    return new int[] {channels, groups, per, tile, columns, lanes, rows, chunks, chunk, pixels};
  }

  /** Threads of a block: whole warps. */
  int threads() {
    return (columns * lanes + 31) / 32 * 32;
  }

  long blocks(int samples) {
    return (long) samples * (channels / tile) * chunks;
  }

  /** Groups of a tile. */
  int tiled() {
    return tile / per;
  }

  /** Values of the tile's groups, one for each lane and run of channels that a thread adds up. */
  int entries(boolean last, int width) {
    int together = last ? Math.min(width, Integer.lowestOneBit(per)) : 1;
    return tile / together * lanes;
  }

  /** Values for the sums of the tile's channels. */
  int channelSums() {
    int width = 2 * tile;
    int slices = Math.clamp(threads() / width, 1, 16);
    return width * (1 + slices + lanes);
  }
}
