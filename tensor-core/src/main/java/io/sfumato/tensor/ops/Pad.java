// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Elements added around the input.
 *
 * @param before how many before each axis, not negative
 * @param after how many behind each axis, not negative
 * @param mode what they are
 * @param value their value for {@link Mode#CONSTANT}
 */
public record Pad(List<Integer> before, List<Integer> after, Mode mode, double value)
    implements AxisCopy {
  /** What is added. */
  public enum Mode {
    /** A constant. */
    CONSTANT,
    /** The input mirrored at its first and last elements, which are not repeated. */
    REFLECT,
    /** The element at the border. */
    REPLICATE
  }

  @Override
  public String name() {
    return "pad";
  }

  @Override
  public double outside() {
    return value;
  }

  @Override
  public int[][] sources(Shape input) {
    if (before.size() != input.rank() || after.size() != input.rank()) {
      throw new ShapeException(
          "one pair per dimension is needed; got " + before + " before, " + after + " after");
    }
    int[][] sources = new int[input.rank()][];
    for (int axis = 0; axis < sources.length; axis++) {
      int size = input.dim(axis);
      int first = before.get(axis);
      check(axis, size, Math.min(first, after.get(axis)), Math.max(first, after.get(axis)));
      int[] table = new int[first + size + after.get(axis)];
      Arrays.setAll(table, i -> source(i - first, size));
      sources[axis] = table;
    }
    return sources;
  }

  private void check(int axis, int size, int smaller, int larger) {
    if (smaller < 0) {
      throw new ShapeException("padding must not be negative; got " + smaller + ", axis " + axis);
    }
    if (mode == Mode.REFLECT && larger > 0 && larger >= size) {
      throw new ShapeException(
          "reflection needs padding below the size " + size + "; got " + larger + ", axis " + axis);
    }
    if (mode == Mode.REPLICATE && larger > 0 && size == 0) {
      throw new ShapeException("axis " + axis + " is empty: there is nothing to replicate");
    }
  }

  private int source(int i, int size) {
    if (i >= 0 && i < size) {
      return i;
    }
    return switch (mode) {
      case CONSTANT -> OUTSIDE;
      case REFLECT -> i < 0 ? -i : 2 * (size - 1) - i;
      case REPLICATE -> i < 0 ? 0 : size - 1;
    };
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Shape shape = c.inputSpec(0).shape();
    Tensor g = c.grad(0);
    if (mode != Mode.CONSTANT) {
      return new @Nullable Tensor[] {Shaping.padBackward(this, g, shape)};
    }
    for (int axis = 0; axis < shape.rank(); axis++) {
      g = Shaping.narrow(g, axis, before.get(axis), shape.dim(axis));
    }
    return new @Nullable Tensor[] {g};
  }
}
