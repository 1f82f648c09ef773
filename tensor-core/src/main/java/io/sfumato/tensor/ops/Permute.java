// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.ViewOp;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Axes in another order, as a view.
 *
 * @param order axis {@code i} of the result is axis {@code order[i]} of the input
 */
public record Permute(List<Integer> order) implements ViewOp, Differentiable {
  @Override
  public String name() {
    return "permute";
  }

  @Override
  public Layout view(Layout input) {
    return input.permute(order.stream().mapToInt(Integer::intValue).toArray());
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    int[] inverse = new int[order.size()];
    for (int i = 0; i < inverse.length; i++) {
      inverse[c.inputSpec(0).shape().axis(order.get(i))] = i;
    }
    return new @Nullable Tensor[] {Shaping.permute(c.grad(0), inverse)};
  }
}
