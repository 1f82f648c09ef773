// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Tensors of one type joined along an axis; all other sizes are equal.
 *
 * @param axis the axis
 * @param order the axes of the result from the outermost in memory to the innermost; if empty,
 *     channels-last inputs give a channels-last result, and others a row-major one
 */
public record Concat(int axis, List<Integer> order) implements Differentiable {
  /** Copies the list. */
  public Concat {
    order = List.copyOf(order);
  }

  /** Joins in the order of the inputs. */
  public Concat(int axis) {
    this(axis, List.of());
  }

  @Override
  public String name() {
    return "concat";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (in.isEmpty()) {
      throw new ShapeException("at least one tensor is needed");
    }
    TensorSpec first = in.getFirst();
    int a = first.shape().axis(axis);
    int rank = first.shape().rank();
    if (!order.isEmpty()
        && (order.size() != rank
            || order.stream().distinct().count() != rank
            || order.stream().anyMatch(i -> i < 0 || i >= rank))) {
      throw new ShapeException("order must hold each axis once; got " + order);
    }
    long size = 0;
    for (TensorSpec x : in) {
      Shape s = x.shape();
      if (s.rank() != first.shape().rank() || !s.with(a, 0).equals(first.shape().with(a, 0))) {
        throw new ShapeException("shapes must be equal but for axis " + a);
      }
      if (x.dtype() != first.dtype()) {
        throw new DTypeException("tensors must have one type");
      }
      size += s.dim(a);
    }
    return List.of(first.with(first.shape().with(a, Math.toIntExact(size))));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return order.isEmpty()
        ? Layouts.channelsLastKept(spec.shape(), in)
        : Layout.ordered(spec.shape(), order.stream().mapToInt(Integer::intValue).toArray());
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    int a = out[0].shape().axis(axis);
    int outer = out[0].outer(a);
    int row = out[0].dim(a) * out[0].inner(a);
    int at = 0;
    for (Dense x : in) {
      int length = x.dim(a) * x.inner(a);
      for (int o = 0; o < outer; o++) {
        System.arraycopy(x.data(), o * length, out[0].data(), o * row + at, length);
      }
      at += length;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] dx = new @Nullable Tensor[c.inputs()];
    Tensor g = c.grad(0);
    int at = 0;
    for (int i = 0; i < dx.length; i++) {
      int end = at + c.inputSpec(i).shape().dim(axis);
      if (c.needs(i)) {
        dx[i] = Shaping.slice(g, axis, at, end, 1);
      }
      at = end;
    }
    return dx;
  }
}
