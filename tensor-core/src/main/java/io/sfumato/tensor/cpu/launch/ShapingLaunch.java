// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.cpu.TableCopy;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.AxisCopy;
import io.sfumato.tensor.ops.Concat;
import io.sfumato.tensor.ops.IndexSelect;
import io.sfumato.tensor.ops.Indices;
import io.sfumato.tensor.ops.SliceScatter;

/** Joins and moves: copies of any type between any layouts. */
public final class ShapingLaunch {
  private ShapingLaunch() {}

  /** {@link Concat}. */
  public static Kernel<Concat> concat() {
    return (op, in, out) -> {
      int axis = out[0].shape().axis(op.axis());
      int at = 0;
      for (Tensor x : in) {
        int end = at + x.dim(axis);
        copyTo(x, out[0], out[0].layout().slice(axis, at, end, 1));
        at = end;
      }
    };
  }

  /** {@link SliceScatter}. */
  public static Kernel<SliceScatter> sliceScatter() {
    return (op, in, out) -> {
      Memory.zero(out[0].address(), out[0].spec().bytes());
      Layout slice = out[0].layout().slice(op.axis(), op.start(), op.end(), op.step());
      copyTo(in[0], out[0], slice);
    };
  }

  private static void copyTo(Tensor x, Tensor y, Layout part) {
    int bytes = y.dtype().bytes();
    long to = y.storage().address() + part.offset() * bytes;
    StridedCopy.copy(bytes, x.address(), x.layout(), to, part);
  }

  /** {@link AxisCopy}: flips, rolls, padding. */
  public static Kernel<AxisCopy> axisCopy() {
    return (op, in, out) ->
        copy(in[0], out[0], op.sources(in[0].shape()), bits(out[0].dtype(), op.outside()));
  }

  /** {@link IndexSelect}. */
  public static Kernel<IndexSelect> indexSelect() {
    return (op, in, out) -> {
      int axis = in[0].shape().axis(op.axis());
      int[][] sources = AxisCopy.unmoved(in[0].shape());
      sources[axis] = indices(in[1], in[0].dim(axis));
      copy(in[0], out[0], sources, 0);
    };
  }

  /** Copies by one table of source indices per axis. */
  static void copy(Tensor x, Tensor y, int[][] sources, long constant) {
    long[][] tables = new long[sources.length][];
    for (int axis = 0; axis < tables.length; axis++) {
      int[] source = sources[axis];
      long stride = x.layout().stride(axis);
      long[] table = new long[source.length];
      for (int i = 0; i < table.length; i++) {
        table[i] = source[i] == AxisCopy.OUTSIDE ? TableCopy.OUTSIDE : source[i] * stride;
      }
      tables[axis] = table;
    }
    int bytes = y.dtype().bytes();
    TableCopy.copy(bytes, x.address(), tables, y.address(), y.layout(), constant);
  }

  /** The values of an index tensor in row-major order, all in [0, {@code size}). */
  static int[] indices(Tensor index, int size) {
    long[] values = Elements.longs(index);
    int[] checked = new int[values.length];
    for (int i = 0; i < checked.length; i++) {
      checked[i] = Indices.checked(values[i], i, size);
    }
    return checked;
  }

  /** The bits of {@code value} rounded to a type. */
  private static long bits(DType dtype, double value) {
    try (Staging staging = new Staging()) {
      long cell = staging.allocate(Long.BYTES);
      Memory.putLong(cell, 0);
      Elements.put(dtype, cell, value);
      return Memory.getLong(cell);
    }
  }
}
