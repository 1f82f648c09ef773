// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.ViewsOp;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * All parts of one axis as views. The gradient is written once, in the input's own order in memory,
 * where slices would each fill a whole tensor of zeros: so parts of a fused product (queries, keys
 * and values) give back what its backward reads without a copy.
 *
 * @param axis the axis
 * @param sizes the sizes of the parts
 * @param order the axes of the input from the outermost in memory to the innermost
 */
public record Split(int axis, List<Integer> sizes, List<Integer> order)
    implements ViewsOp, Differentiable {
  /** Copies the lists. */
  public Split {
    sizes = List.copyOf(sizes);
    order = List.copyOf(order);
  }

  @Override
  public String name() {
    return "split";
  }

  @Override
  public List<Layout> views(Layout input) {
    Shape shape = input.shape();
    int a = shape.axis(axis);
    int sum = sizes.stream().mapToInt(Integer::intValue).sum();
    if (sum != shape.dim(a)) {
      throw new ShapeException(
          "sizes must sum to " + shape.dim(a) + " for axis " + a + "; got " + sizes);
    }
    List<Layout> views = new ArrayList<>();
    int at = 0;
    for (int size : sizes) {
      views.add(input.slice(a, at, at + size, 1));
      at += size;
    }
    return views;
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor[] parts = new Tensor[sizes.size()];
    for (int i = 0; i < parts.length; i++) {
      parts[i] = c.grad(i);
    }
    return new @Nullable Tensor[] {Executor.run(new Concat(axis, order), parts)};
  }
}
