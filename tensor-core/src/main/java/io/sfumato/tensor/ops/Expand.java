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
 * Broadcasting as a view: stretched axes have stride 0.
 *
 * @param target the shape to stretch to
 */
public record Expand(Shape target) implements ViewOp, Differentiable {
  @Override
  public String name() {
    return "expand";
  }

  @Override
  public Layout view(Layout input) {
    return input.expand(target);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Num.sumTo(c.grad(0), c.inputSpec(0).shape())};
  }
}
