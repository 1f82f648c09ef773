// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.ViewOp;
import org.jspecify.annotations.Nullable;

/**
 * Elements {@code start, start + step, …} below {@code end} of one axis, as a view.
 *
 * @param axis the axis
 * @param start first index, not negative
 * @param end one past the last index, at most the size of the axis
 * @param step distance of the indices, at least 1
 */
public record Slice(int axis, int start, int end, int step) implements ViewOp, Differentiable {
  @Override
  public String name() {
    return "slice";
  }

  @Override
  public Layout view(Layout input) {
    return input.slice(axis, start, end, step);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    int size = c.inputSpec(0).shape().dim(axis);
    return new @Nullable Tensor[] {Shaping.sliceScatter(c.grad(0), axis, start, end, step, size)};
  }
}
