// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.exec.ReducedAxes;
import io.sfumato.tensor.exec.ReducedAxes.Axis;
import java.util.ArrayList;
import java.util.List;

/**
 * The axes of a reduction, joined in memory order where both sides allow it and split into kept and
 * reduced ones: {@code struct ReduceShape} of {@code reduce.cuh}. The result is row-major.
 *
 * @param kept kept axes, outermost first
 * @param reduced reduced axes, at least one
 * @param columns whether the innermost axis is kept, with step 1
 */
record ReduceShape(List<Axis> kept, List<Axis> reduced, boolean columns) {
  private static final int AXES = 5; // as in the struct

  static ReduceShape of(Layout x, boolean[] reduced) {
    List<Axis> axes = ReducedAxes.joined(x, reduced);
    List<Axis> kept = new ArrayList<>();
    List<Axis> gone = new ArrayList<>();
    for (Axis a : axes) {
      (a.reduced() ? gone : kept).add(a);
    }
    Axis inner = axes.isEmpty() ? null : axes.getLast();
    boolean columns = inner != null && !inner.reduced() && inner.step() == 1 && !gone.isEmpty();
    return new ReduceShape(kept, gone.isEmpty() ? List.of(new Axis(1, 0, 0, true)) : gone, columns);
  }

  /** Whether the kernels take it: few axes, and 32-bit positions where there are several. */
  boolean fits() {
    return kept.size() <= AXES
        && reduced.size() <= AXES
        && (reduced.size() == 1 || n() < Integer.MAX_VALUE);
  }

  /** The number of results. */
  long results() {
    return product(kept);
  }

  /** The number of elements of each result. */
  long n() {
    return product(reduced);
  }

  private static long product(List<Axis> axes) {
    long n = 1;
    for (Axis a : axes) {
      n *= a.size();
    }
    return n;
  }

  /** Whether elements can be loaded {@code width} at a time, if the first is aligned. */
  boolean isVector(int width) {
    Axis inner = columns ? kept.getLast() : reduced.getLast();
    return inner.step() == 1
        && inner.size() % width == 0
        && stepsAre(width, kept, inner)
        && stepsAre(width, reduced, inner);
  }

  private static boolean stepsAre(int multiple, List<Axis> axes, Axis except) {
    for (Axis a : axes) {
      if (a != except && a.step() % multiple != 0) {
        return false;
      }
    }
    return true;
  }

  /** The struct. */
  long[] words() {
    long[] words = new long[4 + 5 * AXES];
    words[0] = results();
    words[1] = n();
    words[2] = kept.size();
    words[3] = reduced.size();
    for (int i = 0; i < kept.size(); i++) {
      words[4 + i] = kept.get(i).size();
      words[4 + AXES + i] = kept.get(i).step();
      words[4 + 2 * AXES + i] = kept.get(i).outStep();
    }
    for (int i = 0; i < reduced.size(); i++) {
      words[4 + 3 * AXES + i] = reduced.get(i).size();
      words[4 + 4 * AXES + i] = reduced.get(i).step();
    }
    return words;
  }
}
