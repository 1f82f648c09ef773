// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

/**
 * How {@link DataParallel} works.
 *
 * @param bucketBytes gradients are sent together until there are so many bytes; PyTorch's 25 MiB
 *     are {@link #usual}
 * @param zero whether each rank keeps the optimiser's state of a share of the parameters only (ZeRO
 *     stage 1)
 * @param checkSteps steps from one check that all ranks have the same parameters to the next; 0 for
 *     checks at the start and at checkpoints only
 */
public record ParallelOptions(long bucketBytes, boolean zero, int checkSteps) {
  /** Checks the numbers together. */
  public ParallelOptions {
    StringBuilder wrong = new StringBuilder();
    if (bucketBytes < 1) {
      wrong.append("; buckets must have bytes, got ").append(bucketBytes);
    }
    if (checkSteps < 0) {
      wrong.append("; steps between checks must not be negative, got ").append(checkSteps);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("parallel training:" + wrong.substring(1));
    }
  }

  /** Buckets of 25 MiB, whole optimiser states, a check every 100 steps. */
  public static ParallelOptions usual() {
    return new ParallelOptions(25 << 20, false, 100);
  }

  /** The same with other buckets. */
  public ParallelOptions bucketBytes(long bytes) {
    return new ParallelOptions(bytes, zero, checkSteps);
  }

  /** The same with a sharded optimiser, or not. */
  public ParallelOptions zero(boolean value) {
    return new ParallelOptions(bucketBytes, value, checkSteps);
  }

  /** The same with checks at other intervals. */
  public ParallelOptions checkSteps(int steps) {
    return new ParallelOptions(bucketBytes, zero, steps);
  }
}
