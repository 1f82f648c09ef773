// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import java.util.ArrayList;
import java.util.List;

/**
 * Copies of elements of one size from some memory orders to others, as few launches as possible: up
 * to {@link #PARTS} copies run in one. Where rows allow it elements move as units of up to 16
 * bytes; where the innermost axes differ they go through tiles in shared memory.
 */
final class Copies {
  private static final int PARTS = 8;
  private static final int UNITS_PER_BLOCK = 4 * Walk.THREADS;
  private static final int SECTOR = 32; // bytes that memory moves at least
  private static final String FAMILY = "copy";

  private final Gpu gpu;
  private final int bytes;
  private final List<Walk> parts = new ArrayList<>(2);

  /** For elements of some bytes. */
  Copies(Gpu gpu, int bytes) {
    this.gpu = gpu;
    this.bytes = bytes;
  }

  /**
   * Adds a copy.
   *
   * @param from address of the source's first element
   * @param source its layout; steps may be negative
   * @param to address of the target's first element
   * @param target its layout, of one shape
   */
  Copies add(long from, Layout source, long to, Layout target) {
    Walk.of(new long[] {to, from}, new int[] {bytes, bytes}, target, source).pieces(this::add);
    return this;
  }

  private void add(Walk walk) {
    int columns = tiled(walk);
    if (columns > 0) {
      transpose(walk, columns);
    } else {
      parts.add(walk);
    }
  }

  /** Launches what was added; what goes through tiles was launched at once. */
  void run() {
    for (int first = 0; first < parts.size(); first += PARTS) {
      List<Walk> some = parts.subList(first, Math.min(parts.size(), first + PARTS));
      int unit = 16;
      for (Walk walk : some) {
        unit = Math.min(unit, unit(walk));
      }
      if (some.size() == 1) {
        Walk walk = some.getFirst();
        long[] v = new long[PART];
        put(walk, unit, v, 0);
        gpu.kernel(FAMILY, SINGLE[log2(unit)])
            .grid(blocks(v[2]))
            .block(Walk.THREADS)
            .longs(v)
            .run();
      } else {
        long[] v = new long[PARTS + 1 + PARTS * PART];
        for (int p = 0; p < PARTS; p++) {
          v[p + 1] = v[p];
          if (p < some.size()) {
            int at = PARTS + 1 + p * PART;
            put(some.get(p), unit, v, at);
            v[p + 1] += blocks(v[at + 2]);
          }
        }
        gpu.kernel(FAMILY, SEVERAL[log2(unit)]).grid(v[PARTS]).block(Walk.THREADS).longs(v).run();
      }
    }
    parts.clear();
  }

  // ---- units

  private static final int PART = 4 + 4 * Walk.AXES;
  private static final String[] SINGLE = {"copy_1", "copy_2", "copy_4", "copy_8", "copy_16"};
  private static final String[] SEVERAL = {
    "copy_parts_1", "copy_parts_2", "copy_parts_4", "copy_parts_8", "copy_parts_16"
  };

  private static int log2(int unit) {
    return Integer.numberOfTrailingZeros(unit);
  }

  private static long blocks(long units) {
    return (units + UNITS_PER_BLOCK - 1) / UNITS_PER_BLOCK;
  }

  /** The largest unit that rows, steps and addresses are multiples of, in bytes. */
  private int unit(Walk walk) {
    if (walk.step(0, 0) != 1 || walk.step(1, 0) != 1) {
      return bytes;
    }
    long all = walk.size(0) * bytes | walk.address(0) | walk.address(1);
    for (int a = 1; a < walk.depth(); a++) {
      all |= walk.step(0, a) * bytes | walk.step(1, a) * bytes;
    }
    return (int) Math.min(16, Long.lowestOneBit(all));
  }

  /** Writes {@code struct CopyPart}. */
  private void put(Walk walk, int unit, long[] v, int at) {
    long factor = unit / bytes;
    v[at] = walk.address(1);
    v[at + 1] = walk.address(0);
    v[at + 2] = walk.count() / factor;
    v[at + 3] = walk.depth();
    for (int a = 0; a < walk.depth(); a++) {
      long size = a == 0 ? walk.size(0) / factor : walk.size(a);
      v[at + 4 + a] = size;
      v[at + 4 + Walk.AXES + a] = Walk.magic(size);
      v[at + 4 + 2 * Walk.AXES + a] = a == 0 ? walk.step(0, 0) : walk.step(0, a) / factor;
      v[at + 4 + 3 * Walk.AXES + a] = a == 0 ? walk.step(1, 0) : walk.step(1, a) / factor;
    }
  }

  // ---- tiles

  private static final String[] TILED = {
    "transpose_1", "transpose_2", "transpose_4", "transpose_8"
  };

  /** The axis along which the source is innermost, where both it and axis 0 are long; else 0. */
  private int tiled(Walk walk) {
    if (walk.step(0, 0) != 1 || walk.step(1, 0) == 1 || walk.size(0) * bytes < SECTOR) {
      return 0;
    }
    for (int a = 1; a < walk.depth(); a++) {
      if (walk.step(1, a) == 1 && walk.size(a) * bytes >= SECTOR) {
        return a;
      }
    }
    return 0;
  }

  private void transpose(Walk walk, int columns) {
    int tile = bytes <= 2 ? 64 : 32;
    long across = (walk.size(columns) + tile - 1) / tile;
    long down = (walk.size(0) + tile - 1) / tile;
    int n = Walk.AXES;
    long[] v = new long[11 + 4 * n];
    v[0] = walk.address(1);
    v[1] = walk.address(0);
    v[2] = walk.size(0);
    v[3] = walk.size(columns);
    v[4] = walk.step(1, 0);
    v[5] = walk.step(0, columns);
    v[6] = across;
    v[7] = Walk.magic(across);
    v[8] = down;
    v[9] = Walk.magic(down);
    int depth = 0;
    long batches = 1;
    for (int a = 1; a < walk.depth(); a++) {
      if (a != columns) {
        v[11 + depth] = walk.size(a);
        v[11 + n + depth] = Walk.magic(walk.size(a));
        v[11 + 2 * n + depth] = walk.step(0, a);
        v[11 + 3 * n + depth] = walk.step(1, a);
        batches *= walk.size(a);
        depth++;
      }
    }
    v[10] = depth;
    gpu.kernel(FAMILY, TILED[log2(bytes)])
        .grid(across * down * batches)
        .block(Walk.THREADS)
        .longs(v)
        .run();
  }
}
