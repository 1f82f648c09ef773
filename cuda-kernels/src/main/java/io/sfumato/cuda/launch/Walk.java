// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Several operands of one shape, walked together: axes in the memory order of operand 0 (the
 * result), neighbours joined where all operands allow it. Kernels get it by value as {@code struct
 * Walk} of {@code walk.cuh}; axis 0 is the innermost. A walk with more steps than 32 bits count
 * falls into {@link #pieces}.
 */
final class Walk {
  /** The most axes that do not join. */
  static final int AXES = 8;

  /** Threads of a block. */
  static final int THREADS = 256;

  private static final int PER_BLOCK = 2048;
  private static final long MOST = 1L << 31;

  // flags of walk.cuh
  private static final int LINEAR = 0;
  private static final int ROWS = 1;
  private static final int GENERAL = 2;
  private static final int STRIDED_RESULT = 4;
  private static final int REPEATED = 16;

  private final long[] address;
  private final int[] bytes;
  private final long[] size = new long[AXES];
  private final long[][] step;
  private int depth;

  private Walk(long[] address, int[] bytes) {
    this.address = address;
    this.bytes = bytes;
    this.step = new long[address.length][AXES];
  }

  /** Why tensors of this shape cannot be walked, or null. */
  static @Nullable String refuse(Tensor t) {
    return t.rank() > AXES ? "needs at most " + AXES + " axes" : null;
  }

  /** The result and the inputs, which broadcast to its shape. */
  static Walk of(Tensor result, Tensor... inputs) {
    int k = inputs.length + 1;
    long[] address = new long[k];
    int[] bytes = new int[k];
    Layout[] layouts = new Layout[k];
    for (int i = 0; i < k; i++) {
      Tensor t = i == 0 ? result : inputs[i - 1];
      address[i] = t.address();
      bytes[i] = t.dtype().bytes();
      layouts[i] = t.layout();
    }
    return of(address, bytes, layouts);
  }

  /**
   * Operands at addresses.
   *
   * @param address of element (0, 0, …) of each operand
   * @param bytes of an element of each
   * @param layouts of each; offsets are not looked at; all broadcast to the shape of the first
   */
  static Walk of(long[] address, int[] bytes, Layout... layouts) {
    Walk walk = new Walk(address, bytes);
    Shape shape = layouts[0].shape();
    if (alike(shape, layouts)) {
      walk.depth = 1;
      walk.size[0] = shape.numel();
      for (long[] s : walk.step) {
        s[0] = 1;
      }
      return walk;
    }
    for (int axis = shape.rank() - 1; axis >= 0; axis--) {
      if (shape.dim(axis) != 1) {
        walk.insert(axis, shape, layouts);
      }
    }
    walk.join();
    return walk;
  }

  private static boolean alike(Shape shape, Layout[] layouts) {
    for (Layout layout : layouts) {
      if (!layout.isContiguous() || (layout != layouts[0] && !layout.shape().equals(shape))) {
        return false;
      }
    }
    return true;
  }

  /** Puts an axis before those whose step in operand 0 is larger. */
  private void insert(int axis, Shape shape, Layout[] layouts) {
    long own = layouts[0].stride(axis);
    int at = depth++;
    while (at > 0 && step[0][at - 1] > own) {
      size[at] = size[at - 1];
      for (long[] s : step) {
        s[at] = s[at - 1];
      }
      at--;
    }
    size[at] = shape.dim(axis);
    for (int i = 0; i < layouts.length; i++) {
      int a = axis - shape.rank() + layouts[i].shape().rank();
      step[i][at] = a < 0 || layouts[i].shape().dim(a) == 1 ? 0 : layouts[i].stride(a);
    }
  }

  private void join() {
    if (depth == 0) { // one element
      depth = 1;
      size[0] = 1;
      for (long[] s : step) {
        s[0] = 1;
      }
      return;
    }
    int last = 0;
    for (int a = 1; a < depth; a++) {
      boolean follows = true;
      for (long[] s : step) {
        follows &= s[a] == s[last] * size[last];
      }
      if (follows) {
        size[last] *= size[a];
      } else {
        last++;
        size[last] = size[a];
        for (long[] s : step) {
          s[last] = s[a];
        }
      }
    }
    depth = last + 1;
  }

  // ---- what it is

  /** The number of elements. */
  long count() {
    long n = 1;
    for (int a = 0; a < depth; a++) {
      n *= size[a];
    }
    return n;
  }

  /** The number of joined axes. */
  int depth() {
    return depth;
  }

  /** The size of a joined axis. */
  long size(int axis) {
    return size[axis];
  }

  /** The distance along a joined axis in an operand, in elements. */
  long step(int operand, int axis) {
    return step[operand][axis];
  }

  /** The address of the first element of an operand. */
  long address(int operand) {
    return address[operand];
  }

  /** The blocks of a kernel that follows {@code walk.cuh}. */
  long blocks() {
    return (count() + PER_BLOCK - 1) / PER_BLOCK;
  }

  /** The elements of a vector, as {@code WalkVector} of {@code walk.cuh}. */
  static int vector(DType a, DType b) {
    int largest = Math.max(a.bytes(), b.bytes());
    return Math.min(8, 16 / largest);
  }

  /** {@code ceil(2^64 / size)}, 0 for size 1: what kernels divide with. */
  static long magic(long size) {
    return size == 1 ? 0 : Long.divideUnsigned(-1L, size) + 1;
  }

  // ---- cutting

  /** Sees one piece of a walk. */
  @FunctionalInterface
  interface Piece {
    /** Launches it. */
    void launch(Walk piece);
  }

  /** Calls {@code body} with this walk, or with pieces of it that 32 bits can count. */
  void pieces(Piece body) {
    long n = count();
    if (n == 0) {
      return;
    }
    if (n < MOST || (isLinear() && n < 1L << 40)) {
      body.launch(this);
      return;
    }
    int axis = depth - 1;
    long half = (size[axis] + 1) / 2;
    part(0, half).pieces(body);
    part(half, size[axis]).pieces(body);
  }

  private Walk part(long from, long to) {
    Walk walk = new Walk(address.clone(), bytes);
    walk.depth = depth;
    System.arraycopy(size, 0, walk.size, 0, AXES);
    int axis = depth - 1;
    walk.size[axis] = to - from;
    for (int i = 0; i < step.length; i++) {
      System.arraycopy(step[i], 0, walk.step[i], 0, AXES);
      walk.address[i] += from * step[i][axis] * bytes[i];
    }
    return walk;
  }

  // ---- for kernels

  private boolean isLinear() {
    if (depth != 1) {
      return false;
    }
    for (long[] s : step) {
      if (s[0] != 1) {
        return false;
      }
    }
    return true;
  }

  /** Whether the result lies without gaps in the order of the walk. */
  private boolean isResultDense() {
    long expected = 1;
    for (int a = 0; a < depth; a++) {
      if (step[0][a] != expected) {
        return false;
      }
      expected *= size[a];
    }
    return true;
  }

  private boolean isAligned(int operand, int vector) {
    return (address[operand] & ((long) vector * bytes[operand] - 1)) == 0;
  }

  /** Whether rows are vectors in every operand, or one value. */
  private boolean hasRows(int vector) {
    if (size[0] % vector != 0 || step[0][0] != 1) {
      return false;
    }
    for (int i = 0; i < step.length; i++) {
      if (step[i][0] == 0) {
        continue;
      }
      if (step[i][0] != 1 || !isAligned(i, vector)) {
        return false;
      }
      for (int a = 1; a < depth; a++) {
        if (step[i][a] % vector != 0) {
          return false;
        }
      }
    }
    return true;
  }

  private boolean isAligned(int vector) {
    for (int i = 0; i < address.length; i++) {
      if (!isAligned(i, vector)) {
        return false;
      }
    }
    return true;
  }

  /** The struct for kernels that move {@code vector} elements at once where they can. */
  long[] longs(int vector) {
    int k = step.length;
    long[] v = new long[3 + 2 * AXES + k * AXES];
    long flags = GENERAL;
    boolean dense = isResultDense();
    if (vector > 1 && isLinear() && isAligned(vector)) {
      flags = LINEAR;
    } else if (vector > 1 && dense && hasRows(vector)) {
      flags = ROWS;
    }
    boolean rows = flags == ROWS;
    v[0] = count();
    v[2] = depth;
    for (int a = 0; a < depth; a++) {
      long n = rows && a == 0 ? size[0] / vector : size[a];
      v[3 + a] = n;
      v[3 + AXES + a] = magic(n);
    }
    for (int i = 0; i < k; i++) {
      int at = 3 + 2 * AXES + i * AXES;
      System.arraycopy(step[i], 0, v, at, depth);
      if (rows) {
        flags |= step[i][0] == 0 ? (long) REPEATED << i : 0;
        v[at] *= vector;
      }
    }
    v[1] = dense ? flags : flags | STRIDED_RESULT;
    return v;
  }
}
