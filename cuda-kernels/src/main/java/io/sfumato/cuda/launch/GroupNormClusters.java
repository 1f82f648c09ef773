// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.GroupNormSlabs.Problem;
import java.util.Comparator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * How clusters of blocks take the items of {@code groupnorm_cluster.cuh}: all pixels of some
 * channels of a sample, each in the shared memory of one cluster.
 *
 * @param slabs columns, lanes and chunks: one for each block of a cluster
 * @param items the number of items
 * @param resident blocks that a multiprocessor holds at once
 * @param shared bytes of shared memory of a block
 */
record GroupNormClusters(GroupNormSlabs slabs, int items, int resident, int shared) {
  /** Whether group normalisation runs in clusters where it can: {@code on} (default) or off. */
  static final String PROPERTY = "sfumato.cuda.groupnorm.cluster";

  /** Blocks of a cluster. */
  static final int SIZE = 8;

  private static final int CAPABILITY = 90;

  /** Threads of the blocks of a multiprocessor; more, where registers allow, were slower. */
  private static final int THREADS = 640;

  private static final int LEAST_RESIDENT = 2;
  private static final int MOST_RESIDENT = 4;
  private static final int WIDEST = 640; // bytes of a tile in a row
  private static final int SECTOR = 32; // bytes that memory moves at once
  private static final int BLOCK_RESERVE = 1024; // bytes of shared memory that the driver takes

  /**
   * What a device has.
   *
   * @param processors multiprocessors
   * @param shared bytes of shared memory that a block may have
   */
  record Room(int processors, int shared) {
    static Room of(Gpu gpu) {
      return new Room(gpu.multiprocessors(), gpu.sharedPerBlock());
    }
  }

  /** Whether a device has clusters, and they are not forbidden. */
  static boolean areOn(Gpu gpu) {
    return gpu.capability() == CAPABILITY
        && Gpu.driverVersion() >= Wgmma.LEAST_DRIVER
        && Wgmma.read(System.getProperty(PROPERTY, "on"));
  }

  /**
   * The clusters for a problem, or null if others are faster or they do not fit. On an H200 they
   * were faster with whole sectors of memory and at least two blocks per multiprocessor, as one
   * loads while the other computes, and four were mostly better than two: [32, 64 x 64, 320], [32,
   * 32 x 32, 640] and [32, 16 x 16, 1280], but not [8, 128 x 128, 320], of which a multiprocessor
   * holds one block. Of the tiles the widest that leaves work for all was the best. Gradients of
   * 16-bit types have too much to compute: there clusters were slower or as fast.
   *
   * @param room the device
   * @param p the problem
   * @param tensors how many tensors a block keeps: x, or dy and x
   * @param fused how one block would keep a tile in registers, or null if it cannot
   */
  static @Nullable GroupNormClusters of(
      Room room, Problem p, int tensors, @Nullable GroupNormSlabs fused) {
    if (tensors == 2 && p.width() > 4) {
      return null;
    }
    GroupNormClusters first = null;
    for (int resident = MOST_RESIDENT; resident >= LEAST_RESIDENT; resident--) {
      GroupNormClusters best = best(room, p, tensors, resident);
      if (best != null && best.isEnough(room)) {
        return best;
      }
      first = first == null ? best : first;
    }
    return fused == null ? first : null;
  }

  private static @Nullable GroupNormClusters best(Room room, Problem p, int tensors, int resident) {
    return tiles(p)
        .filter(tile -> tile * 16 / p.width() % SECTOR == 0 && tile * 16 / p.width() <= WIDEST)
        .mapToObj(tile -> of(room, p, tensors, tile, resident))
        .filter(c -> c != null)
        .max(
            Comparator.<GroupNormClusters, Boolean>comparing(c -> c.isEnough(room))
                .thenComparingInt(c -> c.isEnough(room) ? c.slabs.tile() : -c.slabs.tile()))
        .orElse(null);
  }

  /** Widths of tiles, in channels. */
  static IntStream tiles(Problem p) {
    if (!p.last() || !p.wide()) {
      return IntStream.empty();
    }
    return IntStream.rangeClosed(1, p.channels() / p.narrowest())
        .map(n -> n * p.narrowest())
        .filter(tile -> p.channels() % tile == 0);
  }

  /** Whether there are two clusters for each that the device holds at once. */
  private boolean isEnough(Room room) {
    return items >= 2 * Math.max(1, room.processors / SIZE * resident);
  }

  /**
   * The clusters for one way to cut, or null if they do not fit.
   *
   * @param room the device
   * @param p the problem
   * @param tensors how many tensors a block keeps
   * @param tile channels of a tile
   * @param resident blocks of a multiprocessor
   */
  static @Nullable GroupNormClusters of(Room room, Problem p, int tensors, int tile, int resident) {
    GroupNormSlabs slabs = GroupNormSlabs.clustered(p, tile, SIZE, THREADS / resident / 32 * 32);
    if (slabs == null) {
      return null;
    }
    int shared = tensors == 1 ? forwardShared(slabs, p) : backwardShared(slabs, p);
    if (shared > (room.shared + BLOCK_RESERVE) / resident - BLOCK_RESERVE) {
      return null;
    }
    int items = p.samples() * (p.channels() / tile);
    return new GroupNormClusters(slabs, items, resident, shared);
  }

  private static int slotBytes(GroupNormSlabs s, int tensors) {
    return 16 * tensors * s.columns() * s.lanes() * ((s.chunk() + s.lanes() - 1) / s.lanes());
  }

  private static int forwardShared(GroupNormSlabs s, Problem p) {
    return slotBytes(s, 1) + 4 * (4 * s.tiled() + 2 * s.entries(true, p.width()));
  }

  private static int backwardShared(GroupNormSlabs s, Problem p) {
    int rows = s.columns() < 32 ? s.threads() / 32 : s.lanes();
    return slotBytes(s, 2) + 4 * (2 * s.tile() + 4 * s.tiled() + rows * 2 * s.tile());
  }

  long blocks() {
    return (long) items * SIZE;
  }
}
