// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.machine.LinuxMemory;
import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Large blocks of memory from the operating system.
 *
 * <p>On Linux they are mapped directly and {@code madvise} asks for huge pages: the first touch of
 * a page costs a fault per 2 MiB instead of one per 4 KiB, and streams over large tensors miss the
 * translation cache less. Nothing is touched here, so nothing is zeroed twice, and giving a block
 * back is one call that stops no other thread. Elsewhere each block is an arena of its own.
 */
abstract class SystemMemory {
  private static final System.Logger LOG = System.getLogger("io.sfumato.cpu");
  private static final SystemMemory INSTANCE = choose();

  /** The memory of this system. */
  static SystemMemory instance() {
    return INSTANCE;
  }

  /**
   * A new block.
   *
   * @param bytes its size
   * @return its address, a multiple of 64
   * @throws OutOfMemoryError if the system has no more
   */
  abstract long reserve(long bytes);

  /** Gives a block back. */
  abstract void release(long address, long bytes);

  private static SystemMemory choose() {
    if (System.getProperty("os.name", "").toLowerCase(Locale.ROOT).contains("linux")) {
      try {
        return new Mapped();
      } catch (Throwable e) { // no native access, or no such function
        LOG.log(
            System.Logger.Level.INFO,
            "no huge pages for tensors, which costs some speed: {0}; run Java with"
                + " --enable-native-access=ALL-UNNAMED",
            e.toString());
      }
    }
    return new Arenas();
  }

  /** Anonymous mappings, aligned to huge pages. */
  private static final class Mapped extends SystemMemory {
    private static final long HUGE = 2L << 20;

    /**
     * Blocks start at different places in a page and in the sets of a cache; otherwise the streams
     * of a kernel that walks several tensors evict each other.
     */
    private static final long COLOUR = 4096 + 256;

    private static final long COLOURS = 15;

    private final AtomicLong next = new AtomicLong();

    Mapped() {
      release(reserve(LinuxMemory.PAGE), LinuxMemory.PAGE);
    }

    @Override
    long reserve(long bytes) {
      long size = LinuxMemory.pages(bytes + COLOURS * COLOUR);
      long from = LinuxMemory.map(size + HUGE);
      long base = (from + HUGE - 1) & -HUGE;
      LinuxMemory.unmap(from, base - from);
      LinuxMemory.unmap(base + size, from + HUGE - base);
      LinuxMemory.wishHugePages(base, size);
      return base + next.getAndIncrement() % COLOURS * COLOUR;
    }

    @Override
    void release(long address, long bytes) {
      LinuxMemory.unmap(address & -HUGE, LinuxMemory.pages(bytes + COLOURS * COLOUR));
    }
  }

  /** An arena per block. */
  private static final class Arenas extends SystemMemory {
    private static final long ALIGNMENT = 64;
    private final Map<Long, Arena> arenas = new ConcurrentHashMap<>();

    @Override
    long reserve(long bytes) {
      Arena arena = Arena.ofShared();
      long address = arena.allocate(bytes, ALIGNMENT).address();
      arenas.put(address, arena);
      return address;
    }

    @Override
    void release(long address, long bytes) {
      Arena arena = arenas.remove(address);
      if (arena == null) {
        throw new IllegalStateException("no block at this address");
      }
      arena.close();
    }
  }
}
