// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import java.util.ArrayList;
import java.util.List;

/**
 * Walks several operands of one shape together, row by row, on all threads. Axes are taken in the
 * memory order of the first operand, and neighbours are joined where all operands allow it, so
 * dense operands of one order become a single long row. Rows are cut at {@link #CHUNK} elements.
 */
final class Sweep {
  /** The most elements of a row. */
  static final int CHUNK = 1 << 14;

  /** One axis after joining; steps in bytes, one per operand. */
  private record Axis(int size, long[] steps) {}

  /** Sees one row. */
  @FunctionalInterface
  interface Row {
    /**
     * Handles one row.
     *
     * @param at address of its first element, per operand
     * @param n the number of elements
     */
    void accept(long[] at, int n);
  }

  private final long[] base;
  private final List<Axis> outer;
  private final Axis inner;
  private final int rows;

  private Sweep(long[] base, List<Axis> outer, Axis inner) {
    this.base = base;
    this.outer = outer;
    this.inner = inner;
    int n = 1;
    for (Axis axis : outer) {
      n = Math.multiplyExact(n, axis.size);
    }
    this.rows = n;
  }

  /** Operands that broadcast to {@code shape}; the first one must have it. */
  static Sweep over(Shape shape, Tensor... operands) {
    int k = operands.length;
    long[] base = new long[k];
    Layout[] layouts = new Layout[k];
    for (int i = 0; i < k; i++) {
      base[i] = operands[i].address();
      layouts[i] = operands[i].layout().expand(shape);
    }
    List<Axis> axes = new ArrayList<>();
    for (int a = 0; a < shape.rank(); a++) {
      if (shape.dim(a) != 1) {
        long[] steps = new long[k];
        for (int i = 0; i < k; i++) {
          steps[i] = layouts[i].stride(a) * operands[i].dtype().bytes();
        }
        axes.add(new Axis(shape.dim(a), steps));
      }
    }
    axes.sort((p, q) -> Long.compare(q.steps[0], p.steps[0]));
    List<Axis> joined = new ArrayList<>();
    for (Axis axis : axes) {
      if (!joined.isEmpty() && follows(joined.getLast(), axis)) {
        int size = Math.multiplyExact(joined.removeLast().size, axis.size);
        joined.add(new Axis(size, axis.steps));
      } else {
        joined.add(axis);
      }
    }
    if (joined.isEmpty()) {
      long[] steps = new long[k];
      for (int i = 0; i < k; i++) {
        steps[i] = operands[i].dtype().bytes();
      }
      joined.add(new Axis(1, steps));
    }
    Axis inner = joined.removeLast();
    return new Sweep(base, joined, inner);
  }

  private static boolean follows(Axis outer, Axis axis) {
    for (int i = 0; i < axis.steps.length; i++) {
      if (outer.steps[i] != axis.steps[i] * axis.size) {
        return false;
      }
    }
    return true;
  }

  /** Distance in bytes of an operand's neighbours in a row; 0 where one value serves the row. */
  long step(int operand) {
    return inner.steps[operand];
  }

  /** The length of uncut rows. */
  int length() {
    return inner.size;
  }

  /** The number of joined axes outside the rows. */
  int depth() {
    return outer.size();
  }

  /** The size of a joined axis outside the rows, 0 for the outermost. */
  int size(int axis) {
    return outer.get(axis).size;
  }

  /** Distance in bytes along a joined axis outside the rows. */
  long step(int axis, int operand) {
    return outer.get(axis).steps[operand];
  }

  /** Calls {@code body} with every row. */
  void forEach(Row body) {
    int n = inner.size;
    if (n == 0 || rows == 0) {
      return;
    }
    int cuts = (n + CHUNK - 1) / CHUNK;
    int units = Math.multiplyExact(rows, cuts);
    Parallel.forRange(
        units,
        Math.max(1, CHUNK / n),
        (begin, end, worker) -> {
          long[] at = new long[base.length];
          for (int unit = begin; unit < end; unit++) {
            int from = unit % cuts * CHUNK;
            place(at, unit / cuts, from);
            body.accept(at, Math.min(CHUNK, n - from));
          }
        });
  }

  private void place(long[] at, int row, long from) {
    for (int i = 0; i < at.length; i++) {
      at[i] = base[i] + from * inner.steps[i];
    }
    int rest = row;
    for (int a = outer.size() - 1; a >= 0; a--) {
      Axis axis = outer.get(a);
      long index = rest % axis.size;
      for (int i = 0; i < at.length; i++) {
        at[i] += index * axis.steps[i];
      }
      rest /= axis.size;
    }
  }

  /** Copies {@code n} floats that lie {@code step} bytes apart (0 repeats one) to neighbours. */
  static void gather(long from, long step, long to, int n) {
    for (int i = 0; i < n; i++) {
      Memory.putInt(to + 4L * i, Memory.getInt(from + i * step));
    }
  }
}
