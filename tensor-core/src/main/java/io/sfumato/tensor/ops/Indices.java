// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;

/** What ops with an index tensor check. */
public final class Indices {
  private Indices() {}

  /** Refuses what is not a whole-number type that can count. */
  static void check(TensorSpec index) {
    if (index.dtype() != DType.I64 && index.dtype() != DType.I32) {
      throw new DTypeException("the index must be i64 or i32");
    }
  }

  /**
   * {@code value} if it is an index.
   *
   * @param value what was found
   * @param element where, in row-major order
   * @param size one past the largest index
   * @throws ShapeException if it is not in [0, {@code size})
   */
  public static int checked(long value, int element, int size) {
    if (value < 0 || value >= size) {
      throw new ShapeException(
          "every index must be in [0, " + size + "); element " + element + " is " + value);
    }
    return (int) value;
  }

  static int at(double[] index, int element, int size) {
    return checked((long) index[element], element, size);
  }

  /** Whether an index is not larger than the input in any axis but {@code axis}. */
  static boolean within(Shape index, Shape input, int axis) {
    for (int i = 0; i < index.rank(); i++) {
      if (i != axis && index.dim(i) > input.dim(i)) {
        return false;
      }
    }
    return true;
  }

  /**
   * Where index element (i0, i1, …) begins in the row-major input: the strides of the input, 0
   * along {@code axis}, which the index itself replaces.
   */
  static Layout window(Shape input, Shape index, int axis) {
    long[] strides = Layout.contiguous(input).strides();
    strides[axis] = 0;
    return Layout.of(index, strides, 0);
  }
}
