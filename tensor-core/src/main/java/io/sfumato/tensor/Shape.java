// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import java.util.Arrays;

/** The dimensions of a tensor, outermost first; immutable. A scalar has rank 0. */
public final class Shape {
  /** The shape of a scalar. */
  public static final Shape SCALAR = new Shape(new int[0]);

  private final int[] dims;
  private final long numel;

  private Shape(int[] dims) {
    this.dims = dims;
    long n = 1;
    for (int d : dims) {
      if (d < 0) {
        throw new ShapeException("dimensions must not be negative; got " + Arrays.toString(dims));
      }
      n = Math.multiplyExact(n, (long) d);
    }
    this.numel = n;
  }

  /**
   * A shape from its dimensions.
   *
   * @throws ShapeException if one is negative
   */
  public static Shape of(int... dims) {
    return dims.length == 0 ? SCALAR : new Shape(dims.clone());
  }

  /** The number of dimensions. */
  public int rank() {
    return dims.length;
  }

  /** The number of elements, the product of all dimensions. */
  public long numel() {
    return numel;
  }

  /**
   * One dimension; negative axes count from the end.
   *
   * @throws ShapeException if the axis is out of range
   */
  public int dim(int axis) {
    return dims[axis(axis)];
  }

  /** A copy of the dimensions. */
  public int[] dims() {
    return dims.clone();
  }

  /**
   * The axis as a number from 0 to rank - 1; negative axes count from the end.
   *
   * @throws ShapeException if it is out of range
   */
  public int axis(int axis) {
    int a = axis < 0 ? axis + dims.length : axis;
    if (a < 0 || a >= dims.length) {
      throw new ShapeException(
          "axis must be in ["
              + -dims.length
              + ", "
              + (dims.length - 1)
              + "]; got axis "
              + axis
              + " for shape "
              + this);
    }
    return a;
  }

  /**
   * Normalised, sorted, distinct axes; no axes means all of them.
   *
   * @throws ShapeException if one is out of range or named twice
   */
  public int[] axes(int... axes) {
    if (axes.length == 0) {
      int[] all = new int[dims.length];
      Arrays.setAll(all, i -> i);
      return all;
    }
    int[] result = new int[axes.length];
    for (int i = 0; i < axes.length; i++) {
      result[i] = axis(axes[i]);
    }
    Arrays.sort(result);
    for (int i = 1; i < result.length; i++) {
      if (result[i] == result[i - 1]) {
        throw new ShapeException("axes must be distinct; got " + Arrays.toString(axes));
      }
    }
    return result;
  }

  /** This shape with one dimension replaced. */
  public Shape with(int axis, int size) {
    int[] d = dims.clone();
    d[axis(axis)] = size;
    return new Shape(d);
  }

  /** This shape without one dimension. */
  public Shape without(int axis) {
    int a = axis(axis);
    int[] d = new int[dims.length - 1];
    System.arraycopy(dims, 0, d, 0, a);
    System.arraycopy(dims, a + 1, d, a, d.length - a);
    return new Shape(d);
  }

  /**
   * This shape with a dimension inserted before {@code axis} (0 to rank, negative from the end).
   */
  public Shape insert(int axis, int size) {
    int a = axis < 0 ? axis + dims.length + 1 : axis;
    if (a < 0 || a > dims.length) {
      throw new ShapeException(
          "axis must be in ["
              + (-dims.length - 1)
              + ", "
              + dims.length
              + "]; got axis "
              + axis
              + " for shape "
              + this);
    }
    int[] d = new int[dims.length + 1];
    System.arraycopy(dims, 0, d, 0, a);
    d[a] = size;
    System.arraycopy(dims, a, d, a + 1, dims.length - a);
    return new Shape(d);
  }

  /** This shape with the given axes set to 1 ({@code keepDims}) or removed. */
  public Shape reduce(int[] axes, boolean keepDims) {
    int[] sorted = axes(axes);
    if (axes.length == 0 && dims.length > 0) {
      sorted = axes();
    }
    int[] d = new int[keepDims ? dims.length : dims.length - sorted.length];
    int k = 0;
    for (int i = 0; i < dims.length; i++) {
      boolean reduced = Arrays.binarySearch(sorted, i) >= 0;
      if (!reduced) {
        d[k++] = dims[i];
      } else if (keepDims) {
        d[k++] = 1;
      }
    }
    return new Shape(d);
  }

  /**
   * The common shape under NumPy broadcasting: aligned from the right, size 1 stretches.
   *
   * @throws ShapeException if a pair of dimensions differs and neither is 1
   */
  public static Shape broadcast(Shape a, Shape b) {
    if (a.equals(b)) {
      return a;
    }
    int rank = Math.max(a.rank(), b.rank());
    int[] d = new int[rank];
    for (int i = 0; i < rank; i++) {
      int da = i < rank - a.rank() ? 1 : a.dims[i - rank + a.rank()];
      int db = i < rank - b.rank() ? 1 : b.dims[i - rank + b.rank()];
      if (da != db && da != 1 && db != 1) {
        throw new ShapeException(
            "shapes must broadcast (equal or 1, aligned from the right); got " + a + " and " + b);
      }
      d[i] = da == 1 ? db : da;
    }
    return new Shape(d);
  }

  /** Whether this shape broadcasts to exactly {@code target}. */
  public boolean broadcastsTo(Shape target) {
    if (rank() > target.rank()) {
      return false;
    }
    for (int i = 1; i <= rank(); i++) {
      int d = dims[rank() - i];
      if (d != 1 && d != target.dims[target.rank() - i]) {
        return false;
      }
    }
    return true;
  }

  @Override
  public boolean equals(Object o) {
    return o instanceof Shape s && Arrays.equals(dims, s.dims);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dims);
  }

  @Override
  public String toString() {
    return Arrays.toString(dims);
  }
}
