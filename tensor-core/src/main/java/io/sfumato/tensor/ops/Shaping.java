// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Executor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;

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

  /** The axes {@code from} to {@code to}, both included, merged into one. */
  public static Tensor flatten(Tensor x, int from, int to) {
    int[] d = x.shape().dims();
    if (d.length == 0) {
      return reshape(x, 1);
    }
    int first = x.shape().axis(from);
    int last = x.shape().axis(to);
    if (first > last) {
      throw new ShapeException("flatten: axis " + from + " must not be behind axis " + to);
    }
    long merged = 1;
    for (int i = first; i <= last; i++) {
      merged *= d[i];
    }
    int[] shape = new int[d.length - (last - first)];
    System.arraycopy(d, 0, shape, 0, first);
    shape[first] = Math.toIntExact(merged);
    System.arraycopy(d, last + 1, shape, first + 1, d.length - last - 1);
    return reshape(x, Shape.of(shape));
  }

  /** Axis {@code from} moved to place {@code to}; the others keep their order. */
  public static Tensor movedim(Tensor x, int from, int to) {
    List<Integer> order = new ArrayList<>(IntStream.range(0, x.rank()).boxed().toList());
    Integer moved = order.remove(x.shape().axis(from));
    order.add(x.shape().axis(to), moved);
    return permute(x, order.stream().mapToInt(Integer::intValue).toArray());
  }

  // ---- parts

  /**
   * Elements {@code start, start + step, …} below {@code end} of one axis, as a view. Negative
   * bounds count from the end; bounds beyond the axis are moved to its end, as in Python.
   *
   * @throws ShapeException if {@code step} is not positive
   */
  public static Tensor slice(Tensor x, int axis, int start, int end, int step) {
    int size = x.dim(axis);
    int from = Math.clamp(start < 0 ? (long) start + size : start, 0, size);
    int to = Math.clamp(end < 0 ? (long) end + size : end, from, size);
    if (from == 0 && to == size && step == 1) {
      return x;
    }
    return Executor.run(new Slice(x.shape().axis(axis), from, to, step), x);
  }

  /** One index of an axis, which disappears; a view. Negative indices count from the end. */
  public static Tensor select(Tensor x, int axis, int index) {
    return Executor.run(new Select(axis, index), x);
  }

  /**
   * {@code length} elements of one axis from {@code start} on, as a view.
   *
   * @throws ShapeException if they are not all there
   */
  public static Tensor narrow(Tensor x, int axis, int start, int length) {
    int first = start < 0 ? start + x.dim(axis) : start;
    return Executor.run(new Slice(axis, first, first + length, 1), x);
  }

  /** Views of {@code size} elements of one axis each; the last may have fewer. */
  public static List<Tensor> split(Tensor x, int size, int axis) {
    if (size < 1) {
      throw new ShapeException("split: the size must be positive; got " + size);
    }
    int n = x.dim(axis);
    int[] sizes = new int[Math.max(1, Math.ceilDiv(n, size))];
    Arrays.setAll(sizes, i -> Math.min(size, n - i * size));
    return split(x, sizes, axis);
  }

  /**
   * Views of the given numbers of elements of one axis.
   *
   * @throws ShapeException if the sizes do not sum to that of the axis
   */
  public static List<Tensor> split(Tensor x, int[] sizes, int axis) {
    List<Integer> list = IntStream.of(sizes).boxed().toList();
    Split op = new Split(x.shape().axis(axis), list, x.layout().order());
    return List.of(Executor.current().execute(op, x));
  }

  /** At most {@code chunks} views of equal size along one axis; the last may be smaller. */
  public static List<Tensor> chunk(Tensor x, int chunks, int axis) {
    if (chunks < 1) {
      throw new ShapeException("chunk: the number must be positive; got " + chunks);
    }
    return split(x, Math.max(1, Math.ceilDiv(x.dim(axis), chunks)), axis);
  }

  /** A view of each index of one axis, which disappears. */
  public static List<Tensor> unbind(Tensor x, int axis) {
    return x.dim(axis) == 0
        ? List.of()
        : split(x, 1, axis).stream().map(part -> squeeze(part, axis)).toList();
  }

  // ---- joining

  /** Tensors joined along an axis; types are promoted, all other sizes must be equal. */
  public static Tensor concat(int axis, Tensor... tensors) {
    if (tensors.length == 1) {
      return tensors[0];
    }
    return Executor.run(new Concat(axis), promoted(tensors));
  }

  /** Tensors joined along an axis; types are promoted, all other sizes must be equal. */
  public static Tensor concat(int axis, List<Tensor> tensors) {
    return concat(axis, tensors.toArray(Tensor[]::new));
  }

  /** Tensors of one shape joined along a new axis. */
  public static Tensor stack(int axis, Tensor... tensors) {
    Tensor[] rows = new Tensor[tensors.length];
    for (int i = 0; i < rows.length; i++) {
      if (!tensors[i].shape().equals(tensors[0].shape())) {
        throw new ShapeException(
            "stack: tensors must have one shape; got "
                + tensors[0].shape()
                + " and "
                + tensors[i].shape());
      }
      rows[i] = unsqueeze(tensors[i], axis);
    }
    return concat(axis, rows);
  }

  static Tensor[] promoted(Tensor... tensors) {
    Tensor[] y = new Tensor[tensors.length];
    DType dtype = tensors.length == 0 ? DType.F32 : tensors[0].dtype();
    for (Tensor t : tensors) {
      dtype = DType.promote(dtype, t.dtype());
    }
    for (int i = 0; i < y.length; i++) {
      y[i] = Num.cast(tensors[i], dtype);
    }
    return y;
  }

  // ---- choosing by number

  /**
   * The slices {@code index[0], index[1], …} of one axis.
   *
   * @param x any shape
   * @param axis the axis
   * @param index [n], I64 or I32
   * @throws ShapeException if an index is out of range; negative ones are
   */
  public static Tensor indexSelect(Tensor x, int axis, Tensor index) {
    return Executor.run(new IndexSelect(axis), x, index);
  }

  /**
   * Zeros of {@code size} slices along one axis, with slice k of x added to {@code index[k]}, in
   * the order of k.
   *
   * @param x any shape
   * @param axis the axis
   * @param index [n], I64 or I32, n being the size of the axis
   * @param size of the axis in the result
   * @throws ShapeException if an index is out of range; negative ones are
   */
  public static Tensor indexAdd(Tensor x, int axis, Tensor index, int size) {
    return Executor.run(new IndexAdd(axis, size), x, index);
  }

  /** Zeros with {@code x} at a slice of them. */
  static Tensor sliceScatter(Tensor x, int axis, int start, int end, int step, int size) {
    return Executor.run(new SliceScatter(axis, start, end, step, size), x);
  }

  /**
   * {@code y[…, i, …] = x[…, index[…, i, …], …]} along one axis.
   *
   * @param x any shape
   * @param axis the axis
   * @param index I64 or I32, of the rank of x, not larger than x in the other axes
   * @return the shape of the index
   * @throws ShapeException if an index is out of range; negative ones are
   */
  public static Tensor gather(Tensor x, int axis, Tensor index) {
    return Executor.run(new Gather(axis), x, index);
  }

  /**
   * {@code x} with {@code source[…, i, …]} added at {@code […, index[…, i, …], …]} along one axis;
   * in row-major order where indices repeat.
   *
   * @param x any shape
   * @param axis the axis
   * @param index I64 or I32, of the rank of x, not larger than x in the other axes
   * @param source of the shape of the index
   * @throws ShapeException if an index is out of range; negative ones are
   */
  public static Tensor scatterAdd(Tensor x, int axis, Tensor index, Tensor source) {
    return Executor.run(new ScatterAdd(axis), x, index, source);
  }

  // ---- moves

  /**
   * A constant around {@code x}; negative padding takes elements away.
   *
   * @param padding numbers of elements {before, after}, for each dimension
   */
  public static Tensor pad(Tensor x, int[][] padding, double value) {
    checkPairs(x, padding);
    Tensor y = x;
    int[][] added = new int[padding.length][2];
    for (int axis = 0; axis < padding.length; axis++) {
      int before = padding[axis][0];
      int after = padding[axis][1];
      added[axis] = new int[] {Math.max(before, 0), Math.max(after, 0)};
      int length = x.dim(axis) + Math.min(before, 0) + Math.min(after, 0);
      if (length != x.dim(axis)) {
        y = narrow(y, axis, Math.max(-before, 0), length);
      }
    }
    return pad(y, added, Pad.Mode.CONSTANT, value);
  }

  /**
   * Elements of {@code x} around it.
   *
   * @param padding numbers of elements {before, after}, for each dimension, not negative
   * @param mode where they come from
   */
  public static Tensor pad(Tensor x, int[][] padding, Pad.Mode mode) {
    checkPairs(x, padding);
    return pad(x, padding, mode, 0);
  }

  private static Tensor pad(Tensor x, int[][] padding, Pad.Mode mode, double value) {
    List<Integer> before = Arrays.stream(padding).map(p -> p[0]).toList();
    List<Integer> after = Arrays.stream(padding).map(p -> p[1]).toList();
    boolean nothing = Stream.concat(before.stream(), after.stream()).allMatch(n -> n == 0);
    return nothing ? x : pad(new Pad(before, after, mode, value), x);
  }

  static Tensor pad(Pad op, Tensor x) {
    return Executor.run(op, x);
  }

  static Tensor padBackward(Pad op, Tensor g, Shape input) {
    return Executor.run(new PadBackward(op, input), g);
  }

  private static void checkPairs(Tensor x, int[][] padding) {
    if (padding.length != x.rank() || Arrays.stream(padding).anyMatch(p -> p.length != 2)) {
      throw new ShapeException(
          "pad: one pair {before, after} per dimension is needed; got "
              + Arrays.deepToString(padding)
              + " for "
              + x.spec());
    }
  }

  /** Some axes in reverse order. */
  public static Tensor flip(Tensor x, int... axes) {
    return flip(x, IntStream.of(axes).boxed().toList());
  }

  static Tensor flip(Tensor x, List<Integer> axes) {
    return Executor.run(new Flip(axes), x);
  }

  /** Elements shifted along one axis; what leaves at one end comes in at the other. */
  public static Tensor roll(Tensor x, int shift, int axis) {
    return roll(x, List.of(shift), List.of(axis));
  }

  /** Elements shifted along several axes. */
  public static Tensor roll(Tensor x, int[] shifts, int[] axes) {
    return roll(x, IntStream.of(shifts).boxed().toList(), IntStream.of(axes).boxed().toList());
  }

  static Tensor roll(Tensor x, List<Integer> shifts, List<Integer> axes) {
    return Executor.run(new Roll(shifts, axes), x);
  }

  /** {@code x} several times along each axis; with more numbers than axes, leading axes are new. */
  public static Tensor tile(Tensor x, int... times) {
    int rank = Math.max(times.length, x.rank());
    int[] parts = new int[2 * rank];
    int[] stretched = new int[2 * rank];
    int[] result = new int[rank];
    for (int i = 0; i < rank; i++) {
      int d = i < rank - x.rank() ? 1 : x.dim(i - rank + x.rank());
      int n = i < rank - times.length ? 1 : times[i - rank + times.length];
      parts[2 * i] = 1;
      stretched[2 * i] = n;
      parts[2 * i + 1] = d;
      stretched[2 * i + 1] = d;
      result[i] = Math.multiplyExact(n, d);
    }
    Tensor y = expand(reshape(x, Shape.of(parts)), Shape.of(stretched));
    return reshape(y, Shape.of(result));
  }

  /** Each slice of one axis {@code times} times in a row. */
  public static Tensor repeatInterleave(Tensor x, int times, int axis) {
    int a = x.shape().axis(axis);
    Shape inserted = x.shape().insert(a + 1, 1);
    Tensor y = expand(reshape(x, inserted), inserted.with(a + 1, times));
    return reshape(y, x.shape().with(a, Math.multiplyExact(x.dim(a), times)));
  }

  // ---- made from nothing

  /** {@code start, start + step, …}, as many as the shape of {@code spec}, of rank 1, says. */
  public static Tensor arange(TensorSpec spec, double start, double step) {
    return Executor.run(new Sequence(start, step, spec));
  }

  /** Equidistant F32 values on the CPU from {@code start} to {@code end}, both included. */
  public static Tensor linspace(double start, double end, int n) {
    double step = n > 1 ? (end - start) / (n - 1) : 0;
    return arange(new TensorSpec(Shape.of(n), DType.F32, Device.CPU), start, step);
  }

  /** The F32 identity matrix on the CPU. */
  public static Tensor eye(int n) {
    return eye(new TensorSpec(Shape.of(n, n), DType.F32, Device.CPU));
  }

  /** A matrix with ones on its diagonal. */
  public static Tensor eye(TensorSpec spec) {
    return Num.cast(Num.eq(diagonal(spec), 0), spec.dtype());
  }

  /**
   * Rows of the identity matrix.
   *
   * @param indices any shape, I64 or I32
   * @return the shape of {@code indices}, then {@code classes}
   * @throws ShapeException if an index is not in [0, {@code classes})
   */
  public static Tensor oneHot(Tensor indices, int classes, DType dtype) {
    Shape square = Shape.of(classes, classes);
    return NN.embedding(indices, eye(new TensorSpec(square, dtype, indices.device())));
  }

  /** Matrices in the last two dimensions with zeros above diagonal {@code k}; 0 is the main one. */
  public static Tensor tril(Tensor x, int k) {
    return Num.where(Num.le(diagonal(x.spec()), k), x, full(x.spec().with(Shape.SCALAR), 0));
  }

  /** Matrices in the last two dimensions with zeros below diagonal {@code k}; 0 is the main one. */
  public static Tensor triu(Tensor x, int k) {
    return Num.where(Num.ge(diagonal(x.spec()), k), x, full(x.spec().with(Shape.SCALAR), 0));
  }

  /** Column minus row, for the last two dimensions, I64. */
  private static Tensor diagonal(TensorSpec spec) {
    int rows = spec.shape().dim(-2);
    int columns = spec.shape().dim(-1);
    TensorSpec whole = spec.with(DType.I64);
    Tensor row = arange(whole.with(Shape.of(rows)), 0, 1);
    Tensor column = arange(whole.with(Shape.of(columns)), 0, 1);
    return column.sub(unsqueeze(row, 1));
  }
}
