// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.ViewOp;
import org.jspecify.annotations.Nullable;

/**
 * The same elements in another shape, without moving them. The facade copies first when the strides
 * do not allow the view.
 *
 * @param target the new shape
 */
public record Reshape(Shape target) implements ViewOp, Differentiable {
  @Override
  public String name() {
    return "reshape";
  }

  @Override
  public Layout view(Layout input) {
    Layout view = input.reshape(target);
    if (view == null) {
      throw new ShapeException("strides do not allow a view of shape " + target);
    }
    return view;
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Shaping.reshape(c.grad(0), c.inputSpec(0).shape())};
  }
}
