// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Storage;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Objects;
import java.util.TreeMap;

/**
 * A pool of off-heap memory. Sizes are rounded up to eight classes per power of two; small blocks
 * are carved from slabs, large ones come from the system one by one; freed blocks wait in a list
 * per class and come back without being zeroed, larger ones also for a request that is a little
 * smaller. Only {@link #trim} gives memory back.
 */
final class SlabAllocator {
  private static final long SLAB = 16L << 20;
  private static final long LARGE = 1L << 20;

  /** From this size on a block may serve a smaller request. */
  private static final long FLEXIBLE = 1L << 15;

  private final NavigableMap<Long, ArrayDeque<Long>> free = new TreeMap<>();
  private final Map<Long, Long> sizes = new HashMap<>(); // of flexible blocks, by address
  private final SystemMemory system = SystemMemory.instance();
  private final long limit;
  private long slab;
  private long slabEnd;
  private long live;
  private long peak;
  private long reserved;
  private long buffers;

  /**
   * A pool.
   *
   * @param limit the most it may take from the system, in bytes
   */
  SlabAllocator(long limit) {
    this.limit = limit;
  }

  /** Memory for {@code bytes} bytes with a count of 1. */
  Storage allocate(long bytes) {
    long size = roundUp(Math.max(bytes, 1));
    long address;
    synchronized (this) {
      address = take(size);
      live += size;
      peak = Math.max(peak, live);
      buffers++;
    }
    return new Storage(Device.CPU, address, bytes, this::release);
  }

  private synchronized void release(long address, long bytes) {
    long size = roundUp(Math.max(bytes, 1));
    live -= size;
    buffers--;
    long block = size < FLEXIBLE ? size : Objects.requireNonNull(sizes.get(address));
    free.computeIfAbsent(block, s -> new ArrayDeque<>()).push(address);
  }

  private long take(long size) {
    long most = size < FLEXIBLE ? size : size + size / 4;
    for (ArrayDeque<Long> waiting : free.subMap(size, true, most, true).values()) {
      if (!waiting.isEmpty()) {
        return waiting.pop();
      }
    }
    if (size < LARGE) {
      if (slabEnd - slab < size) {
        slab = reserve(SLAB);
        slabEnd = slab + SLAB;
      }
      long address = slab;
      slab += size;
      return fresh(address, size);
    }
    return fresh(reserve(size), size);
  }

  private long fresh(long address, long size) {
    if (size >= FLEXIBLE) {
      sizes.put(address, size);
    }
    return address;
  }

  private long reserve(long size) {
    if (reserved + size > limit) {
      trim();
    }
    try {
      if (reserved + size > limit) {
        throw new OutOfMemoryError("limit of " + limit + " bytes (-Dsfumato.cpu.memory)");
      }
      long address = system.reserve(size);
      reserved += size;
      return address;
    } catch (OutOfMemoryError e) {
      throw (DeviceException)
          new DeviceException(
                  "out of memory: wanted "
                      + size
                      + " bytes; "
                      + live
                      + " bytes in "
                      + buffers
                      + " buffers are in use, "
                      + reserved
                      + " reserved; "
                      + e.getMessage())
              .initCause(e);
    }
  }

  /** Gives large unused blocks back to the system. */
  synchronized void trim() {
    free.forEach(
        (size, waiting) -> {
          if (size >= LARGE) {
            for (long address : waiting) {
              system.release(address, size);
              sizes.remove(address);
              reserved -= size;
            }
            waiting.clear();
          }
        });
  }

  synchronized MemoryStats stats() {
    return new MemoryStats(live, peak, reserved, buffers);
  }

  synchronized void resetPeak() {
    peak = live;
  }

  /** The size class of {@code bytes}: a multiple of 64 with at most four significant bits. */
  static long roundUp(long bytes) {
    int shift = Math.max(6, 64 - Long.numberOfLeadingZeros(bytes - 1) - 4);
    long step = 1L << shift;
    return (bytes + step - 1) & -step;
  }
}
