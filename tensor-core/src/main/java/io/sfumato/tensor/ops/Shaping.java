// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Executor;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * Views and moves: reshaping, slicing, joining, gathering. The names are those of {@code torch.*}.
 * Axes may be negative, counting from the end.
 */
public final class Shaping {
  private Shaping() {}

  /** A tensor with every element {@code value}. */
  public static Tensor full(TensorSpec spec, double value) {
    return Executor.run(new Full(spec, value));
  }

  /** The same elements in another shape; one dimension may be -1. A copy if strides demand it. */
  public static Tensor reshape(Tensor x, int... shape) {
    return reshape(x, resolve(x.shape(), shape));
  }

  /** The same elements in another shape. A copy if strides demand it. */
  public static Tensor reshape(Tensor x, Shape shape) {
    if (x.shape().equals(shape)) {
      return x;
    }
    Tensor source = x.layout().reshape(shape) == null ? contiguous(x) : x;
    return Executor.run(new Reshape(shape), source);
  }

  /** Axis {@code i} of the result is axis {@code order[i]} of {@code x}. */
  public static Tensor permute(Tensor x, int... order) {
    return Executor.run(new Permute(IntStream.of(order).boxed().toList()), x);
  }

  /** Two axes exchanged. */
  public static Tensor transpose(Tensor x, int a, int b) {
    int[] order = IntStream.range(0, x.rank()).toArray();
    order[x.shape().axis(a)] = x.shape().axis(b);
    order[x.shape().axis(b)] = x.shape().axis(a);
    return permute(x, order);
  }

  /** Broadcast to a shape without copying. */
  public static Tensor expand(Tensor x, Shape shape) {
    return x.shape().equals(shape) ? x : Executor.run(new Expand(shape), x);
  }

  /** An axis of size 1 inserted before {@code axis}. */
  public static Tensor unsqueeze(Tensor x, int axis) {
    return Executor.run(new Reshape(x.shape().insert(axis, 1)), x);
  }

  /**
   * An axis of size 1 removed.
   *
   * @throws ShapeException if its size is not 1
   */
  public static Tensor squeeze(Tensor x, int axis) {
    if (x.dim(axis) != 1) {
      throw new ShapeException("squeeze: axis " + axis + " must have size 1; got " + x.shape());
    }
    return Executor.run(new Reshape(x.shape().without(axis)), x);
  }

  /** {@code x} if it lies in row-major order, else a copy that does. */
  public static Tensor contiguous(Tensor x) {
    return x.layout().isContiguous() ? x : Executor.run(new Contiguous(false), x);
  }

  /** {@code x} if it lies channels-last (NHWC), else a copy that does. */
  public static Tensor channelsLast(Tensor x) {
    return x.layout().isChannelsLast() ? x : Executor.run(new Contiguous(true), x);
  }

  private static Shape resolve(Shape from, int[] shape) {
    int[] d = shape.clone();
    int unknown = -1;
    long known = 1;
    for (int i = 0; i < d.length; i++) {
      if (d[i] == -1 && unknown < 0) {
        unknown = i;
      } else {
        known *= d[i];
      }
    }
    if (unknown >= 0) {
      if (known == 0 || from.numel() % known != 0) {
        throw new ShapeException(
            "reshape: " + from + " does not divide into " + Arrays.toString(shape));
      }
      d[unknown] = Math.toIntExact(from.numel() / known);
    }
    return Shape.of(d);
  }

  // ---- to be filled in

  /** Elements {@code start, start + step, …} below {@code end} of one axis, as a view. */
  public static Tensor slice(Tensor x, int axis, int start, int end, int step) {
    throw new UnsupportedOperationException("slice");
  }

  /** One index of an axis, which disappears; a view. */
  public static Tensor select(Tensor x, int axis, int index) {
    throw new UnsupportedOperationException("select");
  }
}
