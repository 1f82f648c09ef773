// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Layout;

/**
 * The batch axes of a matrix product, all but the last two, as kernels walk them: broadcast axes
 * have stride 0, axes of size 1 are dropped, and neighbours are joined where all operands allow it.
 */
public final class BatchAxes {
  private BatchAxes() {}

  /**
   * Strides of an operand's batch axes.
   *
   * @param layout the operand, of rank 2 at least
   * @param dims the batch axes of the result, at least as many as the operand has
   * @return a stride for each of {@code dims}, 0 where the operand is broadcast
   */
  public static long[] strides(Layout layout, int[] dims) {
    long[] strides = new long[dims.length];
    int shift = dims.length - (layout.shape().rank() - 2);
    for (int i = shift; i < dims.length; i++) {
      strides[i] = layout.shape().dim(i - shift) == 1 ? 0 : layout.stride(i - shift);
    }
    return strides;
  }

  /**
   * Joins, in place, axes that all operands walk as one, and drops those of size 1.
   *
   * @param dims the sizes of the axes
   * @param strides the strides of each operand
   * @return the number of the last axis left, or -1
   */
  public static int join(int[] dims, long[]... strides) {
    int last = -1;
    for (int i = 0; i < dims.length; i++) {
      if (dims[i] == 1) {
        continue;
      }
      boolean joins = last >= 0;
      for (long[] s : strides) {
        joins = joins && s[last] == s[i] * dims[i];
      }
      if (joins) {
        dims[last] *= dims[i];
      } else {
        dims[++last] = dims[i];
      }
      for (long[] s : strides) {
        s[last] = s[i];
      }
    }
    return last;
  }

  /**
   * The position of a batch, in elements.
   *
   * @param dims the sizes of the axes
   * @param strides an operand's strides
   * @param count how many of the axes, from the first on, are counted through
   * @param index number of the batch, the last of those axes fastest
   */
  public static long offset(int[] dims, long[] strides, int count, int index) {
    long offset = 0;
    int rest = index;
    for (int i = count - 1; i >= 0; i--) {
      offset += rest % dims[i] * strides[i];
      rest /= dims[i];
    }
    return offset;
  }
}
