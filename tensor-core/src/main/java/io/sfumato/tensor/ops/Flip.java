// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Some axes in reverse order.
 *
 * @param axes the axes, distinct
 */
public record Flip(List<Integer> axes) implements AxisCopy {
  @Override
  public String name() {
    return "flip";
  }

  @Override
  public int[][] sources(Shape input) {
    int[][] sources = AxisCopy.unmoved(input);
    if (!axes.isEmpty()) {
      for (int axis : input.axes(axes.stream().mapToInt(Integer::intValue).toArray())) {
        int last = input.dim(axis) - 1;
        Arrays.setAll(sources[axis], i -> last - i);
      }
    }
    return sources;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Shaping.flip(c.grad(0), axes)};
  }
}
