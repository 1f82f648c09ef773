// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import java.util.function.LongConsumer;

/** Walks a layout in row-major order of its indices. */
public final class StridedLoop {
  private StridedLoop() {}

  /** Sees one innermost row: element {@code i} of it is at {@code position + i * stride}. */
  @FunctionalInterface
  public interface Row {
    /**
     * Handles one row.
     *
     * @param position position of its first element
     * @param stride distance of neighbours, in elements
     * @param length the number of elements
     */
    void accept(long position, long stride, int length);
  }

  /** Calls {@code body} with the position of every element. */
  public static void forEach(Layout layout, LongConsumer body) {
    forEachRow(
        layout,
        (position, stride, length) -> {
          for (int i = 0; i < length; i++) {
            body.accept(position + i * stride);
          }
        });
  }

  /** Calls {@code body} with every innermost row. */
  public static void forEachRow(Layout layout, Row body) {
    Shape shape = layout.shape();
    if (shape.numel() == 0) {
      return;
    }
    int rank = shape.rank();
    if (rank == 0) {
      body.accept(layout.offset(), 1, 1);
      return;
    }
    int[] dims = shape.dims();
    long[] strides = layout.strides();
    int[] index = new int[rank];
    long position = layout.offset();
    while (true) {
      body.accept(position, strides[rank - 1], dims[rank - 1]);
      int axis = rank - 2;
      while (axis >= 0) {
        position += strides[axis];
        if (++index[axis] < dims[axis]) {
          break;
        }
        position -= strides[axis] * dims[axis];
        index[axis--] = 0;
      }
      if (axis < 0) {
        return;
      }
    }
  }
}
