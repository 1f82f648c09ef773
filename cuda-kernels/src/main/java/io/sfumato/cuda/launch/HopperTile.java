// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A tile of {@code attention_hopper_forward.cuh}, and how long it takes; which of them a case gets.
 *
 * @param width columns of a head
 * @param keys of a step
 * @param groups warpgroups that compute, of 64 queries each
 * @param ahead whether it has room for the next tile's queries
 * @param each what a tile costs beside its steps, and {@code step} what a step costs: measured on
 *     an H200, in hundredths of a microsecond; compared for one width only
 */
record HopperTile(int width, int keys, int groups, boolean ahead, int each, int step) {
  private static final int FEW = 80; // keys of the tiles that load the next queries early

  /** Without a mask: all there are. */
  static final List<HopperTile> PLAIN =
      List.of(
          of(40, 128, 3, 279, 161),
          of(40, 128, 2, 254, 127),
          of(40, FEW, 3, 240, 109),
          of(64, 128, 3, 277, 169),
          of(64, 128, 2, 240, 127),
          of(64, FEW, 3, 257, 111),
          of(72, 128, 2, 328, 169),
          of(72, FEW, 3, 295, 143),
          of(80, 128, 2, 304, 171),
          of(80, FEW, 3, 270, 145),
          of(96, 128, 2, 377, 168),
          of(96, FEW, 3, 340, 138),
          of(128, 128, 2, 356, 185),
          of(128, FEW, 3, 313, 160),
          of(160, 96, 2, 300, 200),
          of(256, 80, 2, 300, 220));

  /** With one. */
  static final List<HopperTile> MASKED =
      List.of(
          of(40, 128, 2, 0, 0),
          of(64, 128, 2, 0, 0),
          of(72, 128, 2, 0, 0),
          of(80, 128, 2, 0, 0),
          of(96, 96, 2, 0, 0),
          of(128, 96, 2, 0, 0),
          of(160, 64, 2, 0, 0),
          of(256, 32, 2, 0, 0));

  private static HopperTile of(int width, int keys, int groups, int each, int step) {
    return new HopperTile(width, keys, groups, keys == FEW && groups == 3, each, step);
  }

  /** The tile for a case, or null if there is none for this width. */
  static @Nullable HopperTile of(
      boolean masked, int width, long heads, int queries, int keys, boolean causal, int gpu) {
    Comparator<HopperTile> time =
        Comparator.comparingDouble(t -> t.time(heads, queries, keys, causal, gpu));
    List<HopperTile> all = masked ? MASKED : PLAIN;
    return all.stream().filter(t -> t.width == width).min(time).orElse(null);
  }

  /** Queries of a tile. */
  int rows() {
    return 64 * groups;
  }

  /** How long a case takes on so many multiprocessors, as all take about as many tiles. */
  private double time(long heads, int queries, int keys, boolean causal, int multiprocessors) {
    long tiles = heads * Math.ceilDiv(queries, rows());
    double rounds = Math.ceilDiv(tiles, multiprocessors);
    if (!causal) {
      return rounds * time(keys);
    }
    double most = Math.min(keys, queries);
    double seen = most - most * most / 2 / queries; // on average
    double balanced = (double) tiles / multiprocessors * time(Math.min(most, seen + rows() / 2));
    return Math.max(balanced, time(most));
  }

  private double time(double seen) {
    return each + step * Math.ceil(seen / keys);
  }

  /** The kernel's name without its type. */
  String name(String kernel) {
    return kernel + "_" + width + "_" + keys + "_" + groups;
  }

  /** Shared memory of a block. */
  int bytes() {
    int panels = (width + 63) / 64; // of 64 columns
    int queries = rows() * (ahead ? 2 : 1);
    return (queries + 4 * keys) * panels * 128 + 128; // q; two steps of k, v; barriers
  }
}
