// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** The axes of a reduction as kernels walk them. Results are row-major. */
public final class ReducedAxes {
  /**
   * One joined axis; steps in elements.
   *
   * @param size its size
   * @param step its step in the input
   * @param outStep its step in the result; 0 for one that goes
   * @param reduced whether it goes
   */
  public record Axis(long size, long step, long outStep, boolean reduced) {}

  private ReducedAxes() {}

  /** Which axes of {@code x} go when these do; negative ones count from the end, none means all. */
  public static boolean[] flags(Shape x, List<Integer> axes) {
    boolean[] reduced = new boolean[x.rank()];
    for (int axis : x.axes(axes.stream().mapToInt(Integer::intValue).toArray())) {
      reduced[axis] = true;
    }
    return reduced;
  }

  /** Which axes of {@code x} go when it is summed to a shape that could be broadcast to it. */
  public static boolean[] flagsTo(Shape x, Shape target) {
    boolean[] reduced = new boolean[x.rank()];
    int shift = x.rank() - target.rank();
    for (int i = 0; i < x.rank(); i++) {
      reduced[i] = i < shift || (target.dim(i - shift) == 1 && x.dim(i) != 1);
    }
    return reduced;
  }

  /** Dense, with the kept axes outside of the reduced ones, each in their order. */
  public static Layout keptFirst(Shape x, boolean[] reduced) {
    int[] order =
        IntStream.concat(
                IntStream.range(0, x.rank()).filter(i -> !reduced[i]),
                IntStream.range(0, x.rank()).filter(i -> reduced[i]))
            .toArray();
    return Layout.ordered(x, order);
  }

  /** Axes in the memory order of the input, joined where both sides allow it; none of size 1. */
  public static List<Axis> joined(Layout x, boolean[] reduced) {
    Shape shape = x.shape();
    List<Axis> axes = new ArrayList<>();
    long outStep = 1;
    for (int i = shape.rank() - 1; i >= 0; i--) {
      if (shape.dim(i) != 1) {
        axes.add(new Axis(shape.dim(i), x.stride(i), reduced[i] ? 0 : outStep, reduced[i]));
        outStep *= reduced[i] ? 1 : shape.dim(i);
      }
    }
    axes.sort((p, q) -> Long.compare(q.step, p.step));
    List<Axis> result = new ArrayList<>();
    for (Axis a : axes) {
      Axis last = result.isEmpty() ? null : result.getLast();
      if (last != null
          && last.reduced == a.reduced
          && last.step == a.step * a.size
          && last.outStep == a.outStep * a.size) {
        result.set(result.size() - 1, new Axis(last.size * a.size, a.step, a.outStep, a.reduced));
      } else {
        result.add(a);
      }
    }
    return result;
  }
}
