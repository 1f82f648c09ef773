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
 * Elements shifted along axes; what leaves at one end comes in at the other.
 *
 * @param shifts by how much, towards larger indices
 * @param axes along which axes, distinct
 */
public record Roll(List<Integer> shifts, List<Integer> axes) implements AxisCopy {
  @Override
  public String name() {
    return "roll";
  }

  @Override
  public int[][] sources(Shape input) {
    if (shifts.size() != axes.size()) {
      throw new ShapeException(
          "one shift per axis is needed; got shifts " + shifts + " for axes " + axes);
    }
    int[][] sources = AxisCopy.unmoved(input);
    if (!axes.isEmpty()) {
      input.axes(axes.stream().mapToInt(Integer::intValue).toArray());
    }
    for (int k = 0; k < shifts.size(); k++) {
      int axis = input.axis(axes.get(k));
      int size = input.dim(axis);
      int shift = shifts.get(k);
      Arrays.setAll(sources[axis], i -> (int) Math.floorMod((long) i - shift, (long) size));
    }
    return sources;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    List<Integer> back = shifts.stream().map(s -> -s).toList();
    return new @Nullable Tensor[] {Shaping.roll(c.grad(0), back, axes)};
  }
}
