// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;

/**
 * Row-major f64 values, what references compute on.
 *
 * @param shape the dimensions
 * @param dtype the type the values come from or will be rounded to
 * @param data one value per element; BOOL is 0 or 1
 */
@SuppressWarnings("ArrayRecordComponent") // a window on data, never compared
public record Dense(Shape shape, DType dtype, double[] data) {
  /** Zeros. */
  public static Dense zeros(Shape shape, DType dtype) {
    return new Dense(shape, dtype, new double[Math.toIntExact(shape.numel())]);
  }

  /** One dimension; negative axes count from the end. */
  public int dim(int axis) {
    return shape.dim(axis);
  }

  /** The number of elements. */
  public int numel() {
    return data.length;
  }

  /** The product of the dimensions before {@code axis} (0 to rank). */
  public int outer(int axis) {
    int n = 1;
    for (int i = 0; i < axis; i++) {
      n *= shape.dim(i);
    }
    return n;
  }

  /** The product of the dimensions after {@code axis}. */
  public int inner(int axis) {
    int n = 1;
    for (int i = axis + 1; i < shape.rank(); i++) {
      n *= shape.dim(i);
    }
    return n;
  }

  /** These values stretched to a shape they broadcast to. */
  public Dense expand(Shape target) {
    if (shape.equals(target)) {
      return this;
    }
    Dense y = zeros(target, dtype);
    int[] k = {0};
    StridedLoop.forEach(
        io.sfumato.tensor.Layout.contiguous(shape).expand(target),
        p -> y.data[k[0]++] = data[(int) p]);
    return y;
  }
}
