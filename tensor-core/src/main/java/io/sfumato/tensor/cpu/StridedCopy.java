// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.Layout;
import java.util.ArrayList;
import java.util.List;

/**
 * Copies elements of 1, 2, 4 or 8 bytes from one layout to another of the same shape, on all
 * threads. Axes that lie alike are joined first; what remains is copied row by row where both sides
 * have neighbours at neighbouring addresses, and else in small square tiles, so that each cache
 * line is touched once (transposition).
 */
public final class StridedCopy {
  private static final int TILE = 16;
  private static final int GRAIN = 1 << 15;

  /** Floats from which on rows are copied by vectors. */
  private static final int LONG_ROW = 16;

  /** One joined axis. */
  private record Axis(int size, long from, long to) {}

  private StridedCopy() {}

  /**
   * Copies all elements.
   *
   * @param bytes size of one element
   * @param from address of element (0, 0, …) of the source
   * @param fromLayout strides of the source; its offset is not used
   * @param to address of element (0, 0, …) of the destination
   * @param toLayout strides of the destination, which must not overlap itself or the source; its
   *     offset is not used
   */
  public static void copy(int bytes, long from, Layout fromLayout, long to, Layout toLayout) {
    if (toLayout.shape().numel() == 0) {
      return;
    }
    List<Axis> axes = joined(fromLayout, toLayout);
    Axis writes = axes.removeLast(); // smallest stride of the destination
    if (axes.isEmpty() || (writes.from == 1 && writes.to == 1)) {
      rows(bytes, from, to, axes, writes);
      return;
    }
    int best = 0;
    for (int i = 1; i < axes.size(); i++) {
      best = axes.get(i).from != 0 && axes.get(i).from <= axes.get(best).from ? i : best;
    }
    Axis reads = axes.remove(best);
    tiles(bytes, from, to, axes, reads, writes);
  }

  /** Axes larger than 1, by falling stride of the destination, neighbours joined where possible. */
  private static List<Axis> joined(Layout from, Layout to) {
    List<Axis> axes = new ArrayList<>();
    for (int i = 0; i < to.shape().rank(); i++) {
      if (to.shape().dim(i) > 1) {
        axes.add(new Axis(to.shape().dim(i), from.stride(i), to.stride(i)));
      }
    }
    axes.sort((a, b) -> Long.compare(b.to, a.to));
    List<Axis> result = new ArrayList<>();
    for (Axis axis : axes) {
      Axis outer = result.isEmpty() ? null : result.getLast();
      if (outer != null && outer.from == axis.from * axis.size && outer.to == axis.to * axis.size) {
        result.set(
            result.size() - 1,
            new Axis(Math.multiplyExact(outer.size, axis.size), axis.from, axis.to));
      } else {
        result.add(axis);
      }
    }
    if (result.isEmpty()) {
      result.add(new Axis(1, 1, 1));
    }
    return result;
  }

  private static void rows(int bytes, long from, long to, List<Axis> outer, Axis row) {
    int n = count(outer);
    boolean dense = row.from == 1 && row.to == 1;
    if (n == 1 && dense) {
      blocks(from, to, (long) row.size * bytes);
      return;
    }
    int grain = Math.max(1, GRAIN / row.size);
    if (dense && bytes == 4 && row.size >= LONG_ROW) {
      Parallel.forRange(
          n, grain, (begin, end, worker) -> longRows(from, to, outer, row.size, begin, end));
      return;
    }
    Parallel.forRange(
        n,
        grain,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            long a = from + bytes * position(outer, i, true);
            long b = to + bytes * position(outer, i, false);
            if (dense) {
              Memory.copy(a, b, (long) bytes * row.size);
            } else {
              run(bytes, a, row.from * bytes, b, row.to * bytes, row.size);
            }
          }
        });
  }

  /** Rows of floats, all that lie at even distances at once. */
  private static void longRows(long from, long to, List<Axis> outer, int size, int begin, int end) {
    GemmTile tile = Loops.tile();
    Axis axis = outer.getLast();
    int count;
    for (int i = begin; i < end; i += count) {
      count = Math.min(end - i, axis.size - i % axis.size);
      long a = from + 4 * position(outer, i, true);
      long b = to + 4 * position(outer, i, false);
      tile.copyRows(count, size, a, axis.from, b, axis.to);
    }
  }

  private static void blocks(long from, long to, long bytes) {
    long block = 4L * GRAIN;
    int n = Math.toIntExact((bytes + block - 1) / block);
    Parallel.forRange(
        n,
        1,
        (begin, end, worker) ->
            Memory.copy(
                from + begin * block,
                to + begin * block,
                Math.min(bytes, end * block) - begin * block));
  }

  private static void tiles(
      int bytes, long from, long to, List<Axis> outer, Axis reads, Axis writes) {
    int across = (reads.size + TILE - 1) / TILE;
    int n = Math.multiplyExact(count(outer), across);
    int grain = Math.max(1, GRAIN / (TILE * writes.size));
    Parallel.forRange(
        n,
        grain,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            int r = i % across * TILE;
            int rows = Math.min(TILE, reads.size - r);
            long a = from + bytes * (position(outer, i / across, true) + r * reads.from);
            long b = to + bytes * (position(outer, i / across, false) + r * reads.to);
            for (int c = 0; c < writes.size; c += TILE) {
              int columns = Math.min(TILE, writes.size - c);
              for (int k = 0; k < rows; k++) {
                run(
                    bytes,
                    a + bytes * (k * reads.from + c * writes.from),
                    writes.from * bytes,
                    b + bytes * (k * reads.to + c * writes.to),
                    writes.to * bytes,
                    columns);
              }
            }
          }
        });
  }

  private static void run(int bytes, long from, long fromStep, long to, long toStep, int n) {
    switch (bytes) {
      case 4 -> {
        for (int i = 0; i < n; i++) {
          Memory.putInt(to + i * toStep, Memory.getInt(from + i * fromStep));
        }
      }
      case 1 -> {
        for (int i = 0; i < n; i++) {
          Memory.putByte(to + i * toStep, Memory.getByte(from + i * fromStep));
        }
      }
      case 2 -> {
        for (int i = 0; i < n; i++) {
          Memory.putShort(to + i * toStep, Memory.getShort(from + i * fromStep));
        }
      }
      case 8 -> {
        for (int i = 0; i < n; i++) {
          Memory.putLong(to + i * toStep, Memory.getLong(from + i * fromStep));
        }
      }
      default ->
          throw new IllegalArgumentException(
              "strided copy: elements must have 1, 2, 4 or 8 bytes; got " + bytes);
    }
  }

  private static int count(List<Axis> axes) {
    int n = 1;
    for (Axis axis : axes) {
      n = Math.multiplyExact(n, axis.size);
    }
    return n;
  }

  private static long position(List<Axis> axes, int index, boolean source) {
    long position = 0;
    int rest = index;
    for (int i = axes.size() - 1; i >= 0; i--) {
      Axis axis = axes.get(i);
      position += rest % axis.size * (source ? axis.from : axis.to);
      rest /= axis.size;
    }
    return position;
  }
}
