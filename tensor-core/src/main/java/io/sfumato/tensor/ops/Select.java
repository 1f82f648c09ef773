// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.ViewOp;
import org.jspecify.annotations.Nullable;

/**
 * One index of an axis, which disappears; a view.
 *
 * @param axis the axis
 * @param index the index; negative ones count from the end
 */
public record Select(int axis, int index) implements ViewOp, Differentiable {
  @Override
  public String name() {
    return "select";
  }

  @Override
  public Layout view(Layout input) {
    return input.select(axis, index);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Shape shape = c.inputSpec(0).shape();
    int a = shape.axis(axis);
    int i = index < 0 ? index + shape.dim(a) : index;
    Tensor row = Shaping.unsqueeze(c.grad(0), a);
    return new @Nullable Tensor[] {Shaping.sliceScatter(row, a, i, i + 1, 1, shape.dim(a))};
  }
}
