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
 * @param clusters the number of clusters that run at once
 * @param resident blocks that a multiprocessor holds at once
 * @param shared bytes of shared memory of a block
 */
record GroupNormClusters(GroupNormSlabs slabs, int items, int clusters, int resident, int shared) {
  /** Whether group normalisation runs in clusters where it can: {@code on} (default) or off. */
  static final String PROPERTY = "sfumato.cuda.groupnorm.cluster";

  /** Blocks of a cluster. */
  static final int SIZE = 8;

  private static final int CAPABILITY = 90;

  /** Threads of the blocks of a multiprocessor, by the kernels' registers. */
  private static final int THREADS = 640;

  private static final int SECTOR = 32; // bytes that memory moves at once
  private static final int BLOCK_RESERVE = 1024; // bytes of shared memory that the driver takes

  /** Whether a device has clusters, and they are not forbidden. */
  static boolean areOn(Gpu gpu) {
    return gpu.capability() == CAPABILITY
        && Gpu.driverVersion() >= Wgmma.LEAST_DRIVER
        && Wgmma.read(System.getProperty(PROPERTY, "on"));
  }

  /**
   * The clusters for a problem, or null if they do not suit it. Two blocks per multiprocessor are
   * better than one, as one loads while the other computes; then whole sectors of memory; then the
   * widest tiles that leave work for all.
   *
   * @param gpu the device
   * @param p the problem
   * @param tensors how many tensors a block keeps: x, or dy and x
   */
  static @Nullable GroupNormClusters of(Gpu gpu, Problem p, int tensors) {
    if (!p.last() || !p.wide()) {
      return null;
    }
    int narrowest = p.narrowest();
    return IntStream.rangeClosed(1, p.channels() / narrowest)
        .map(n -> n * narrowest)
        .filter(tile -> p.channels() % tile == 0)
        .mapToObj(tile -> of(gpu, p, tensors, tile))
        .filter(c -> c != null)
        .max(
            Comparator.<GroupNormClusters>comparingInt(c -> c.resident)
                .thenComparing(c -> c.slabs.tile() * 16 / p.width() % SECTOR == 0)
                .thenComparing(c -> c.items >= 2 * slots(gpu, c.resident))
                .thenComparingInt(
                    c -> c.items >= 2 * slots(gpu, c.resident) ? c.slabs.tile() : -c.slabs.tile()))
        .orElse(null);
  }

  /** The clusters with so many channels in a tile, or null if they do not fit. */
  static @Nullable GroupNormClusters of(Gpu gpu, Problem p, int tensors, int tile) {
    for (int resident = 2; resident > 0; resident--) {
      GroupNormSlabs slabs = GroupNormSlabs.clustered(p, tile, SIZE, THREADS / resident);
      if (slabs == null) {
        return null;
      }
      int shared = tensors == 1 ? forwardShared(slabs, p) : backwardShared(slabs, p);
      if (shared <= (gpu.sharedPerBlock() + BLOCK_RESERVE) / resident - BLOCK_RESERVE) {
        int items = p.samples() * (p.channels() / tile);
        int slots = slots(gpu, resident);
        int rounds = (items + slots - 1) / slots;
        int clusters = (items + rounds - 1) / rounds;
        return new GroupNormClusters(slabs, items, clusters, resident, shared);
      }
    }
    return null;
  }

  /** The same with a cluster for each item. */
  GroupNormClusters unrolled() {
    return new GroupNormClusters(slabs, items, items, resident, shared);
  }

  /** Clusters that the device surely holds at once, if its parts have whole numbers of them. */
  private static int slots(Gpu gpu, int resident) {
    return Math.max(1, gpu.multiprocessors() / SIZE * resident);
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
    return (long) clusters * SIZE;
  }
}
