// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.concurrent.Semaphore;

/**
 * Bounds the memory of all pictures that are decoded at the same time: whoever would go beyond it
 * waits for others. So whether a picture can be decoded does not depend on how many threads read.
 */
final class DecodeBudget {
  private static final long UNIT = 1 << 16;

  private final int all;
  private final Semaphore left;

  /** A budget of so many bytes. */
  DecodeBudget(long bytes) {
    this.all = Math.clamp(bytes / UNIT, 1, Integer.MAX_VALUE);
    this.left = new Semaphore(all, true); // or small pictures would keep a large one waiting
  }

  /** What is done with the memory. */
  @FunctionalInterface
  interface Work<T> {
    T run() throws IOException;
  }

  /**
   * Does something that takes memory. What takes more than there is has it all for itself.
   *
   * @throws InterruptedIOException if the thread is interrupted while it waits; it stays so
   */
  <T> T with(long bytes, Work<T> work) throws IOException {
    int units = Math.clamp((bytes + UNIT - 1) / UNIT, 1, all);
    try {
      left.acquire(units);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while waiting for memory");
    }
    try {
      return work.run();
    } finally {
      left.release(units);
    }
  }
}
