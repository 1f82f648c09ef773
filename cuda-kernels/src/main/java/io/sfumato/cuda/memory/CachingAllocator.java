// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.memory;

import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.exec.ModulePath;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Device memory from segments that are kept. Requests are rounded to 512 bytes and served by the
 * smallest free block that fits (best fit), split and joined again with its neighbours when freed;
 * small ones (up to 1 MB) have segments of 2 MB of their own, so that they do not break up large
 * ones. All work of a device runs on one stream in order, so a freed block serves the next request
 * at once, without waiting. When the device is full, unused segments are given back and the request
 * is tried once more.
 */
public final class CachingAllocator {
  private static final long ALIGNMENT = 512;
  private static final long SMALL = 1 << 20;
  private static final long SMALL_SEGMENT = 2 << 20;
  private static final long MEDIUM = 10 << 20;
  private static final long MEDIUM_SEGMENT = 20 << 20;
  private static final long ROUND = 2 << 20;

  /** Where segments come from. */
  public interface Source {
    /** A segment of device memory, or 0 if there is not enough. */
    long allocate(long bytes);

    /** Gives a segment back; waits for work that uses it. */
    void free(long address);
  }

  /**
   * Free blocks that serve only requests made while this pool is in use: memory of captured work,
   * which runs again later, must not be given to anybody else.
   */
  public static final class Pool {
    private final TreeSet<Block> small = new TreeSet<>(BY_SIZE);
    private final TreeSet<Block> large = new TreeSet<>(BY_SIZE);

    private Pool() {}

    private TreeSet<Block> of(boolean isSmall) {
      return isSmall ? small : large;
    }
  }

  private static final class Block {
    final long address;
    long bytes;
    final boolean small;
    @Nullable Block before; // neighbours in the segment
    @Nullable Block after;
    Pool pool;
    boolean free;
    String path = "";
    long requested;

    Block(long address, long bytes, boolean small, Pool pool) {
      this.address = address;
      this.bytes = bytes;
      this.small = small;
      this.pool = pool;
    }

    boolean isWholeSegment() {
      return before == null && after == null;
    }
  }

  // written out: composed comparators took a tenth of the host's time of a training step
  private static final Comparator<Block> BY_SIZE =
      (a, b) -> {
        int order = Long.compare(a.bytes, b.bytes);
        return order != 0 ? order : Long.compare(a.address, b.address);
      };

  private final boolean exact;
  private final Source source;
  private final String name;
  private final Pool general = new Pool();
  private Pool current = general;
  private @Nullable AllocationScript script;
  private final Map<Long, Block> used = new HashMap<>();
  private long live;
  private long peak;
  private long reserved;

  /**
   * An allocator without memory.
   *
   * @param name the device, for messages
   * @param source where segments come from
   */
  public CachingAllocator(String name, Source source) {
    this(name, source, false);
  }

  /**
   * An allocator without memory.
   *
   * @param name the device, for messages
   * @param source where segments come from
   * @param exact whether every request is served by the source itself and given back at once: slow,
   *     but tools that watch memory then see what a kernel reads or writes outside a tensor
   */
  public CachingAllocator(String name, Source source, boolean exact) {
    this.name = name;
    this.source = source;
    this.exact = exact;
  }

  /**
   * Uninitialised memory, aligned to 512 bytes.
   *
   * @param bytes the size; 0 gets memory too, so that every buffer has an address
   * @throws DeviceException if there is not enough, with what is in use
   */
  public synchronized long allocate(long bytes) {
    AllocationScript followed = script;
    if (followed != null && followed.isPlaying()) {
      return followed.next(bytes);
    }
    long address = allocateAnew(bytes);
    if (followed != null) {
      followed.note(address, bytes);
    }
    return address;
  }

  private long allocateAnew(long bytes) {
    long size = Math.max(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    boolean small = size <= SMALL;
    if (exact) {
      return taken(segment(Math.max(1, bytes), small, bytes), bytes);
    }
    TreeSet<Block> pool = current.of(small);
    Block block = pool.ceiling(new Block(0, size, small, current));
    if (block == null) {
      block = segment(size, small, bytes);
    } else {
      pool.remove(block);
    }
    if (block.bytes - size >= (small ? ALIGNMENT : SMALL)) {
      split(block, size);
    }
    return taken(block, bytes);
  }

  private long taken(Block block, long bytes) {
    block.free = false;
    block.path = ModulePath.current();
    block.requested = bytes;
    used.put(key(block.address), block);
    live += block.bytes;
    peak = Math.max(peak, live);
    return block.address;
  }

  /** An address as a key: addresses differ above bit 8, where hash tables do not look. */
  private static long key(long address) {
    return Long.rotateRight(address, 9);
  }

  private Block segment(long size, boolean small, long asked) {
    long bytes = exact ? size : segmentBytes(size, small);
    long address = source.allocate(bytes);
    if (address == 0) {
      trim();
      address = source.allocate(bytes);
    }
    if (address == 0 && bytes > size && !small) {
      bytes = size;
      address = source.allocate(bytes);
    }
    if (address == 0) {
      throw new DeviceException(
          name
              + " is out of memory: "
              + megabytes(asked)
              + " were asked for, tensors hold "
              + megabytes(live)
              + " in "
              + used.size()
              + " buffers, the pool has taken "
              + megabytes(reserved)
              + "; use smaller batches, checkpointing or bf16, or free memory that other programs"
              + " hold.\n"
              + report());
    }
    reserved += bytes;
    return new Block(address, bytes, small, current);
  }

  private static long segmentBytes(long size, boolean small) {
    return small
        ? SMALL_SEGMENT
        : size < MEDIUM ? MEDIUM_SEGMENT : (size + ROUND - 1) / ROUND * ROUND;
  }

  private void split(Block block, long size) {
    Block rest = new Block(block.address + size, block.bytes - size, block.small, block.pool);
    rest.before = block;
    rest.after = block.after;
    if (rest.after != null) {
      rest.after.before = rest;
    }
    block.after = rest;
    block.bytes = size;
    rest.free = true;
    pool(rest).add(rest);
  }

  private static TreeSet<Block> pool(Block block) {
    return block.pool.of(block.small);
  }

  /**
   * Takes memory back.
   *
   * @throws IllegalStateException if it is not in use
   */
  public synchronized void free(long address) {
    AllocationScript followed = script;
    if (followed != null && followed.isPlaying() && followed.has(address)) {
      return;
    }
    Block block = used.remove(key(address));
    if (block == null) {
      throw new IllegalStateException("memory freed that was not in use");
    }
    live -= block.bytes;
    if (exact) {
      if (block.pool == general) {
        giveBack(block);
      } else {
        pool(block).add(block); // captured work still uses it
      }
      return;
    }
    Block before = block.before;
    if (before != null && before.free) {
      pool(before).remove(before);
      join(before, block);
      block = before;
    }
    Block after = block.after;
    if (after != null && after.free) {
      pool(after).remove(after);
      join(block, after);
    }
    block.free = true;
    pool(block).add(block);
  }

  private void giveBack(Block block) {
    reserved -= block.bytes;
    source.free(block.address);
  }

  private static void join(Block first, Block second) {
    first.bytes += second.bytes;
    first.after = second.after;
    if (first.after != null) {
      first.after.before = first;
    }
  }

  /** Gives segments without tensors back to the device. */
  public synchronized void trim() {
    for (TreeSet<Block> pool : List.of(general.small, general.large)) {
      for (Block block : new ArrayList<>(pool)) {
        if (block.isWholeSegment()) {
          pool.remove(block);
          giveBack(block);
        }
      }
    }
  }

  // ---- captured work

  /** A pool of its own, empty. */
  public synchronized Pool newPool() {
    return new Pool();
  }

  /** Serves requests from this pool alone; null for the general one. */
  public synchronized void use(@Nullable Pool pool) {
    current = pool == null ? general : pool;
  }

  /** Makes the memory of a pool general; what is still in use of it stays so. */
  public synchronized void dissolve(Pool pool) {
    for (Block block : used.values()) {
      if (block.pool == pool) {
        block.pool = general;
      }
    }
    for (boolean small : new boolean[] {true, false}) {
      for (Block block : pool.of(small)) {
        block.pool = general;
        if (exact) {
          giveBack(block);
        } else {
          general.of(small).add(block);
        }
      }
      pool.of(small).clear();
    }
  }

  /** Notes in a script what is asked for, or answers as it says; null for neither. */
  public synchronized void follow(@Nullable AllocationScript next) {
    script = next;
  }

  /** Bytes and buffers in use. */
  public synchronized MemoryStats stats() {
    return new MemoryStats(live, peak, reserved, used.size());
  }

  /** Starts a new measurement of the peak. */
  public synchronized void resetPeak() {
    peak = live;
  }

  /** What is alive, by the module that ran when it was allocated, the largest first. */
  public synchronized String report() {
    Map<String, long[]> byPath = new TreeMap<>();
    for (Block block : used.values()) {
      long[] sum = byPath.computeIfAbsent(block.path, p -> new long[2]);
      sum[0] += block.bytes;
      sum[1]++;
    }
    StringBuilder text = new StringBuilder("in use, by module:");
    byPath.entrySet().stream()
        .sorted((a, b) -> Long.compare(b.getValue()[0], a.getValue()[0]))
        .limit(20)
        .forEach(
            e ->
                text.append("\n  ")
                    .append(megabytes(e.getValue()[0]))
                    .append(" in ")
                    .append(e.getValue()[1])
                    .append(" buffers: ")
                    .append(e.getKey().isEmpty() ? "(outside of modules)" : e.getKey()));
    return text.toString();
  }

  private static String megabytes(long bytes) {
    return String.format(java.util.Locale.ROOT, "%.1f MB", bytes / 1e6);
  }
}
