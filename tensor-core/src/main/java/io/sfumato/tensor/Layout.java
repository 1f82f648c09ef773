// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * How a shape lies in a buffer: element {@code (i0, i1, …)} is at {@code offset + Σ i_k stride_k}.
 * Offsets and strides count elements. Strides may be 0 (broadcast) and, after {@link #slice} with a
 * step, larger than the next dimension. Immutable; all view algebra is here.
 */
public final class Layout {
  private final Shape shape;
  private final long[] strides;
  private final long offset;
  private final boolean contiguous;

  private Layout(Shape shape, long[] strides, long offset) {
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.contiguous = rowMajor(shape, strides);
  }

  /** A layout from its parts. */
  public static Layout of(Shape shape, long[] strides, long offset) {
    if (strides.length != shape.rank()) {
      throw new ShapeException(
          "one stride per dimension needed; got " + strides.length + " for shape " + shape);
    }
    return new Layout(shape, strides.clone(), offset);
  }

  /** Row-major, offset 0: the last dimension has stride 1. */
  public static Layout contiguous(Shape shape) {
    long[] s = new long[shape.rank()];
    long n = 1;
    for (int i = s.length - 1; i >= 0; i--) {
      s[i] = n;
      n *= Math.max(1, shape.dim(i));
    }
    return new Layout(shape, s, 0);
  }

  /**
   * Channels-last, offset 0: dimension 1 has stride 1, the others keep their order (NCHW stored as
   * NHWC). Rank must be at least 3.
   */
  public static Layout channelsLast(Shape shape) {
    int rank = shape.rank();
    int[] order = new int[rank];
    order[0] = 0;
    for (int i = 2; i < rank; i++) {
      order[i - 1] = i;
    }
    order[rank - 1] = 1;
    return ordered(shape, order);
  }

  /** Dense, offset 0, with {@code order[0]} the outermost axis and the last entry of stride 1. */
  public static Layout ordered(Shape shape, int... order) {
    long[] s = new long[shape.rank()];
    long n = 1;
    for (int i = order.length - 1; i >= 0; i--) {
      s[order[i]] = n;
      n *= Math.max(1, shape.dim(order[i]));
    }
    return new Layout(shape, s, 0);
  }

  /** The axes from the one with the largest stride to the one with the smallest. */
  public List<Integer> order() {
    return IntStream.range(0, shape.rank())
        .boxed()
        .sorted(Comparator.comparingLong((Integer i) -> Math.abs(strides[i])).reversed())
        .toList();
  }

  /**
   * A dense layout, offset 0, for {@code shape} with the same axis order as this one if this one is
   * dense and has that shape; else row-major. Elementwise kernels use it for their results.
   */
  public Layout like(Shape target) {
    return target.equals(shape) && isDense()
        ? (offset == 0 ? this : new Layout(shape, strides, 0))
        : contiguous(target);
  }

  /** The shape. */
  public Shape shape() {
    return shape;
  }

  /** A copy of the strides, in elements. */
  public long[] strides() {
    return strides.clone();
  }

  /** The stride of one axis, in elements; negative axes count from the end. */
  public long stride(int axis) {
    return strides[shape.axis(axis)];
  }

  /** The position of element (0, 0, …), in elements. */
  public long offset() {
    return offset;
  }

  /** Whether elements lie in row-major order without gaps (any offset). */
  public boolean isContiguous() {
    return contiguous;
  }

  /** Whether dimension 1 is innermost and elements lie without gaps as NHWC (any offset). */
  public boolean isChannelsLast() {
    return shape.rank() >= 3 && sameStrides(channelsLast(shape));
  }

  /** Whether the elements fill one block without gaps or overlap, in any axis order. */
  public boolean isDense() {
    if (contiguous) {
      return true;
    }
    long expected = 1;
    boolean[] used = new boolean[strides.length];
    for (int k = 0; k < strides.length; k++) {
      int next = -1;
      for (int i = 0; i < strides.length; i++) {
        if (!used[i] && shape.dim(i) != 1 && strides[i] == expected) {
          next = i;
          break;
        }
      }
      if (next < 0) {
        break;
      }
      used[next] = true;
      expected *= shape.dim(next);
    }
    return expected == shape.numel();
  }

  /**
   * Whether both layouts place equal indices equally, offsets apart (size-1 axes do not matter).
   */
  public boolean sameStrides(Layout other) {
    if (!shape.equals(other.shape)) {
      return false;
    }
    for (int i = 0; i < strides.length; i++) {
      if (shape.dim(i) > 1 && strides[i] != other.strides[i]) {
        return false;
      }
    }
    return true;
  }

  /** Axis {@code i} of the result is axis {@code order[i]} of this layout. */
  public Layout permute(int... order) {
    if (order.length != strides.length || shape.axes(order).length != strides.length) {
      throw new ShapeException(
          "permute needs every axis once; got " + Arrays.toString(order) + " for shape " + shape);
    }
    int[] d = new int[order.length];
    long[] s = new long[order.length];
    for (int i = 0; i < order.length; i++) {
      d[i] = shape.dim(order[i]);
      s[i] = stride(order[i]);
    }
    return new Layout(Shape.of(d), s, offset);
  }

  /**
   * Elements {@code start, start+step, …} below {@code end} of one axis.
   *
   * @throws ShapeException unless 0 ≤ start ≤ end ≤ size and step ≥ 1
   */
  public Layout slice(int axis, int start, int end, int step) {
    int a = shape.axis(axis);
    int size = shape.dim(a);
    if (start < 0 || end < start || end > size || step < 1) {
      throw new ShapeException(
          "slice needs 0 <= start <= end <= size and step >= 1; got ["
              + start
              + ", "
              + end
              + ") step "
              + step
              + " on axis "
              + a
              + " of "
              + shape);
    }
    long[] s = strides.clone();
    s[a] *= step;
    int n = (int) (((long) end - start + step - 1) / step);
    return new Layout(shape.with(a, n), s, offset + (n == 0 ? 0 : start * strides[a]));
  }

  /** One index of an axis; the axis disappears. */
  public Layout select(int axis, int index) {
    int a = shape.axis(axis);
    int i = index < 0 ? index + shape.dim(a) : index;
    if (i < 0 || i >= shape.dim(a)) {
      throw new ShapeException(
          "index must be below "
              + shape.dim(a)
              + "; got "
              + index
              + " on axis "
              + a
              + " of "
              + shape);
    }
    long[] s = new long[strides.length - 1];
    System.arraycopy(strides, 0, s, 0, a);
    System.arraycopy(strides, a + 1, s, a, s.length - a);
    return new Layout(shape.without(a), s, offset + i * strides[a]);
  }

  /** Broadcast to {@code target}: new and stretched axes get stride 0. */
  public Layout expand(Shape target) {
    if (!shape.broadcastsTo(target)) {
      throw new ShapeException("shape " + shape + " does not broadcast to " + target);
    }
    long[] s = new long[target.rank()];
    int shift = target.rank() - shape.rank();
    for (int i = shift; i < s.length; i++) {
      s[i] = shape.dim(i - shift) == target.dim(i) ? strides[i - shift] : 0;
    }
    return new Layout(target, s, offset);
  }

  /** An axis of size 1 inserted before {@code axis}. */
  public Layout unsqueeze(int axis) {
    Shape target = shape.insert(axis, 1);
    int a = axis < 0 ? axis + target.rank() : axis;
    long[] s = new long[strides.length + 1];
    System.arraycopy(strides, 0, s, 0, a);
    System.arraycopy(strides, a, s, a + 1, strides.length - a);
    s[a] = a < strides.length ? strides[a] * Math.max(1, shape.dim(a)) : 1;
    return new Layout(target, s, offset);
  }

  /**
   * The same elements in another shape without moving them.
   *
   * @return the layout, or null if these strides do not allow it
   * @throws ShapeException if the number of elements differs
   */
  public @Nullable Layout reshape(Shape target) {
    if (target.numel() != shape.numel()) {
      throw new ShapeException(
          "reshape must keep the number of elements; got "
              + shape
              + " ("
              + shape.numel()
              + ") to "
              + target
              + " ("
              + target.numel()
              + ")");
    }
    if (contiguous || shape.numel() == 0) {
      return new Layout(target, contiguous(target).strides, offset);
    }
    long[] s = new long[target.rank()];
    int i = 0; // first source axis of the current run
    int j = 0;
    int rank = shape.rank();
    while (i < rank || j < s.length) {
      long have = i < rank ? shape.dim(i) : 1;
      long want = j < s.length ? target.dim(j) : 1;
      int endI = i < rank ? i + 1 : i;
      int endJ = j < s.length ? j + 1 : j;
      while (have != want) {
        if (have < want) {
          have *= shape.dim(endI++);
        } else {
          want *= target.dim(endJ++);
        }
      }
      long stride = 1;
      int last = -1;
      for (int k = endI - 1; k >= i; k--) { // the run must be mergeable into one axis
        if (shape.dim(k) == 1) {
          continue;
        }
        if (last < 0) {
          stride = strides[k];
        } else if (strides[k] != strides[last] * shape.dim(last)) {
          return null;
        }
        last = k;
      }
      for (int k = endJ - 1; k >= j; k--) {
        s[k] = stride;
        stride *= target.dim(k);
      }
      i = endI;
      j = endJ;
    }
    return new Layout(target, s, offset);
  }

  /** One past the largest position an element has, in elements; 0 if there are none. */
  public long extent() {
    if (shape.numel() == 0) {
      return 0;
    }
    long end = offset + 1;
    for (int i = 0; i < strides.length; i++) {
      end += (shape.dim(i) - 1) * strides[i];
    }
    return end;
  }

  private static boolean rowMajor(Shape shape, long[] strides) {
    long n = 1;
    for (int i = strides.length - 1; i >= 0; i--) {
      int d = shape.dim(i);
      if (d == 0) {
        return true;
      }
      if (d != 1) {
        if (strides[i] != n) {
          return false;
        }
        n *= d;
      }
    }
    return true;
  }

  @Override
  public boolean equals(Object o) {
    return o instanceof Layout l
        && offset == l.offset
        && shape.equals(l.shape)
        && Arrays.equals(strides, l.strides);
  }

  @Override
  public int hashCode() {
    return 31 * (31 * shape.hashCode() + Arrays.hashCode(strides)) + Long.hashCode(offset);
  }

  @Override
  public String toString() {
    return shape + " strides " + Arrays.toString(strides) + " offset " + offset;
  }
}
