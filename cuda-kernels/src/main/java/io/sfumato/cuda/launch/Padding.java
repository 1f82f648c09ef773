// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Pad;

/**
 * The axes of a padded tensor and of what is inside, in the memory order of the result, which lies
 * without gaps: {@code struct Padding} of {@code shaping.cu}. The result is the padded tensor, or
 * for the adjoint the one inside. Neighbouring axes without padding are joined.
 */
final class Padding {
  private final int mode;
  private final long[] size = new long[Walk.AXES];
  private final long[] before = new long[Walk.AXES];
  private final long[] after = new long[Walk.AXES];
  private final long[] inner = new long[Walk.AXES];
  private final long[] resultStep = new long[Walk.AXES];
  private final long[] step = new long[Walk.AXES];
  private int depth;

  /**
   * Axes of a padding.
   *
   * @param op its attributes
   * @param result what is written
   * @param input what is read
   * @param inside the one of them that is not padded
   */
  Padding(Pad op, Tensor result, Tensor input, Tensor inside) {
    mode = op.mode().ordinal();
    for (int axis = result.rank() - 1; axis >= 0; axis--) {
      if (result.dim(axis) != 1 || input.dim(axis) != 1) {
        insert(op, axis, result, input, inside);
      }
    }
    join();
  }

  private void insert(Pad op, int axis, Tensor result, Tensor input, Tensor inside) {
    long own = result.layout().stride(axis);
    int at = depth++;
    while (at > 0 && resultStep[at - 1] > own) {
      move(at - 1, at);
      at--;
    }
    size[at] = result.dim(axis);
    before[at] = op.before().get(axis);
    after[at] = op.after().get(axis);
    inner[at] = inside.dim(axis);
    resultStep[at] = own;
    step[at] = input.layout().stride(axis);
  }

  private void move(int from, int to) {
    size[to] = size[from];
    before[to] = before[from];
    after[to] = after[from];
    inner[to] = inner[from];
    resultStep[to] = resultStep[from];
    step[to] = step[from];
  }

  private boolean isPadded(int axis) {
    return before[axis] != 0 || after[axis] != 0;
  }

  private void join() {
    int last = -1;
    for (int a = 0; a < depth; a++) {
      if (last >= 0 && !isPadded(last) && !isPadded(a) && step[a] == step[last] * size[last]) {
        size[last] *= size[a];
        inner[last] *= inner[a];
      } else {
        move(a, ++last);
      }
    }
    depth = last + 1;
  }

  /**
   * Counts in the largest units, up to 16 bytes, that rows and steps are multiples of.
   *
   * @param bytes of an element
   * @param addresses both addresses, joined by or
   * @return the bytes of a unit
   */
  int widen(int bytes, long addresses) {
    if (depth == 0 || isPadded(0) || step[0] != 1) {
      return bytes;
    }
    long all = addresses | size[0] * bytes;
    for (int a = 1; a < depth; a++) {
      all |= step[a] * bytes;
    }
    int unit = (int) Math.min(16, Long.lowestOneBit(all));
    int factor = unit / bytes;
    size[0] /= factor;
    inner[0] /= factor;
    for (int a = 1; a < depth; a++) {
      step[a] /= factor;
    }
    return unit;
  }

  /** The struct. */
  long[] longs(long pattern) {
    int n = Walk.AXES;
    long[] v = new long[4 + 6 * n];
    v[0] = 1;
    v[1] = depth;
    v[2] = mode;
    v[3] = pattern;
    for (int a = 0; a < depth; a++) {
      v[0] *= size[a];
      v[4 + a] = size[a];
      v[4 + n + a] = Walk.magic(size[a]);
      v[4 + 2 * n + a] = before[a];
      v[4 + 3 * n + a] = after[a];
      v[4 + 4 * n + a] = inner[a];
      v[4 + 5 * n + a] = step[a];
    }
    return v;
  }
}
