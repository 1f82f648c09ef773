// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Copies elements of 1, 2, 4 or 8 bytes whose place in the source is given by one table per axis,
 * on all threads: flips, rotations, padding, repetition, lookups. Axes that are neighbours in the
 * destination are joined into one table, whose stretches of neighbouring elements are copied as
 * blocks.
 */
public final class TableCopy {
  /** In a table: no element of the source; the destination gets the constant. */
  public static final long OUTSIDE = -1;

  private static final int LONGEST_TABLE = 1 << 14;
  private static final int GRAIN = 1 << 15;
  private static final int SHORT = 4;

  /** One joined axis: distance in the destination, positions in the source. */
  private record Axis(long to, long[] from) {}

  private final int bytes;
  private final long from;
  private final long to;
  private final long constant;
  private final List<Axis> outer;
  private final long[] row;
  private final int[] stretches; // where each stretch of the row begins, and the end

  private TableCopy(int bytes, long from, long to, long constant, List<Axis> axes) {
    this.bytes = bytes;
    this.from = from;
    this.to = to;
    this.constant = constant;
    this.row = axes.removeLast().from;
    this.outer = axes;
    this.stretches = stretches(row);
  }

  /**
   * Copies all elements.
   *
   * @param bytes size of one element
   * @param from address of element (0, 0, …) of the source
   * @param tables for each axis of the destination, the position in the source that each index
   *     contributes, in elements, or {@link #OUTSIDE}
   * @param to address of the destination
   * @param layout layout of the destination, dense
   * @param constant the bits of what stands where a table says OUTSIDE
   */
  public static void copy(
      int bytes, long from, long[][] tables, long to, Layout layout, long constant) {
    if (layout.shape().numel() == 0) {
      return;
    }
    TableCopy copy = new TableCopy(bytes, from, to, constant, joined(tables, layout));
    int n = 1;
    for (Axis axis : copy.outer) {
      n = Math.multiplyExact(n, axis.from.length);
    }
    Parallel.forRange(n, Math.max(1, GRAIN / copy.row.length), copy::rows);
  }

  /** Axes by falling stride of the destination, neighbours joined while the table stays short. */
  private static List<Axis> joined(long[][] tables, Layout layout) {
    List<Axis> axes = new ArrayList<>();
    for (int i = 0; i < tables.length; i++) {
      long stride = layout.shape().dim(i) == 1 ? 0 : layout.stride(i);
      axes.add(new Axis(stride, tables[i]));
    }
    axes.sort((a, b) -> Long.compare(b.to, a.to));
    Axis inner = new Axis(1, new long[] {0});
    while (!axes.isEmpty()) {
      Axis last = axes.getLast();
      if ((long) last.from.length * inner.from.length > LONGEST_TABLE && inner.from.length > 1) {
        break;
      }
      axes.removeLast();
      inner = join(last, inner);
    }
    axes.add(inner);
    return axes;
  }

  private static Axis join(Axis outer, Axis inner) {
    int n = inner.from.length;
    long[] table = new long[Math.multiplyExact(outer.from.length, n)];
    for (int i = 0; i < table.length; i++) {
      long a = outer.from[i / n];
      long b = inner.from[i % n];
      table[i] = a == OUTSIDE || b == OUTSIDE ? OUTSIDE : a + b;
    }
    return new Axis(1, table);
  }

  private static int[] stretches(long[] row) {
    int[] begin = new int[row.length + 1];
    int n = 0;
    for (int i = 0; i < row.length; i++) {
      boolean continues =
          i > 0
              && (row[i] == OUTSIDE
                  ? row[i - 1] == OUTSIDE
                  : row[i - 1] != OUTSIDE && row[i] == row[i - 1] + 1);
      if (!continues) {
        begin[n++] = i;
      }
    }
    begin[n] = row.length;
    return Arrays.copyOf(begin, n + 1);
  }

  private void rows(int begin, int end, int worker) {
    for (int i = begin; i < end; i++) {
      int rest = i;
      long source = 0;
      long target = 0;
      boolean outside = false;
      for (int k = outer.size() - 1; k >= 0; k--) {
        Axis axis = outer.get(k);
        int index = rest % axis.from.length;
        rest /= axis.from.length;
        target += index * axis.to;
        outside |= axis.from[index] == OUTSIDE;
        source += axis.from[index];
      }
      long at = to + bytes * target;
      if (outside) {
        fill(at, row.length);
      } else if (stretches.length * SHORT > row.length) {
        elements(from + bytes * source, at);
      } else {
        blocks(from + bytes * source, at);
      }
    }
  }

  private void blocks(long source, long target) {
    for (int k = 0; k + 1 < stretches.length; k++) {
      int first = stretches[k];
      int length = stretches[k + 1] - first;
      if (row[first] == OUTSIDE) {
        fill(target + (long) bytes * first, length);
      } else {
        Memory.copy(
            source + bytes * row[first], target + (long) bytes * first, (long) bytes * length);
      }
    }
  }

  private void elements(long source, long target) {
    for (int i = 0; i < row.length; i++) {
      long value = row[i] == OUTSIDE ? constant : get(source + bytes * row[i]);
      put(target + (long) bytes * i, value);
    }
  }

  private void fill(long target, int n) {
    if (constant == 0) {
      Memory.zero(target, (long) bytes * n);
      return;
    }
    for (int i = 0; i < n; i++) {
      put(target + (long) bytes * i, constant);
    }
  }

  private long get(long address) {
    return switch (bytes) {
      case 1 -> Memory.getByte(address);
      case 2 -> Memory.getShort(address);
      case 4 -> Memory.getInt(address);
      default -> Memory.getLong(address);
    };
  }

  private void put(long address, long bits) {
    switch (bytes) {
      case 1 -> Memory.putByte(address, (byte) bits);
      case 2 -> Memory.putShort(address, (short) bits);
      case 4 -> Memory.putInt(address, (int) bits);
      default -> Memory.putLong(address, bits);
    }
  }
}
