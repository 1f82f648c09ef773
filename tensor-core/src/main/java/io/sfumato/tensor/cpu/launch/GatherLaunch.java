// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.StridedLoop;
import io.sfumato.tensor.ops.Gather;
import io.sfumato.tensor.ops.IndexAdd;
import io.sfumato.tensor.ops.ScatterAdd;
import org.jspecify.annotations.Nullable;

/** Choice by number and its adjoint. Sums are made in the order of the index, so always alike. */
public final class GatherLaunch {
  private static final int COLUMNS = 1024;

  private GatherLaunch() {}

  /** {@link Gather}, of any type. */
  public static Kernel<Gather> gather() {
    return (op, in, out) -> {
      int axis = in[0].shape().axis(op.axis());
      int[] index = ShapingLaunch.indices(in[1], in[0].dim(axis));
      long along = in[0].layout().stride(axis);
      int bytes = in[0].dtype().bytes();
      long from = in[0].storage().address();
      long to = out[0].address();
      int[] k = {0};
      StridedLoop.forEach(
          window(in[0].layout(), out[0], axis),
          p -> {
            long source = from + bytes * (p + index[k[0]] * along);
            element(bytes, source, to + (long) bytes * k[0]++);
          });
    };
  }

  private static void element(int bytes, long from, long to) {
    switch (bytes) {
      case 1 -> Memory.putByte(to, Memory.getByte(from));
      case 2 -> Memory.putShort(to, Memory.getShort(from));
      case 4 -> Memory.putInt(to, Memory.getInt(from));
      default -> Memory.putLong(to, Memory.getLong(from));
    }
  }

  /** Where each index element begins, without the part of the axis that the index replaces. */
  private static Layout window(Layout x, Tensor index, int axis) {
    long[] strides = x.strides();
    strides[axis] = 0;
    return Layout.of(index.shape(), strides, x.offset());
  }

  /** {@link ScatterAdd} of f32 and i64. */
  public static final class Scatter implements Kernel<ScatterAdd> {
    @Override
    public @Nullable String refuse(ScatterAdd op, Tensor[] in, Tensor[] out) {
      DType dtype = out[0].dtype();
      return dtype == DType.F32 || dtype == DType.I64 ? null : "needs f32 or i64";
    }

    @Override
    public void launch(ScatterAdd op, Tensor[] in, Tensor[] out) {
      int axis = in[0].shape().axis(op.axis());
      int[] index = ShapingLaunch.indices(in[1], in[0].dim(axis));
      int bytes = out[0].dtype().bytes();
      long y = out[0].storage().address();
      StridedCopy.copy(bytes, in[0].address(), in[0].layout(), out[0].address(), out[0].layout());
      if (in[2].numel() == 0) {
        return;
      }
      long along = out[0].layout().stride(axis);
      boolean floating = out[0].dtype() == DType.F32;
      int[] k = {0};
      try (Staging staging = new Staging()) {
        long source = staging.rowMajor(in[2]);
        StridedLoop.forEach(
            window(out[0].layout(), in[1], axis),
            p -> {
              long to = y + bytes * (p + index[k[0]] * along);
              long from = source + (long) bytes * k[0]++;
              if (floating) {
                Memory.putFloat(to, Memory.getFloat(to) + Memory.getFloat(from));
              } else {
                Memory.putLong(to, Memory.getLong(to) + Memory.getLong(from));
              }
            });
      }
    }
  }

  /** {@link IndexAdd} of f32; the columns of a slice are divided among threads. */
  public static final class Add implements Kernel<IndexAdd> {
    @Override
    public @Nullable String refuse(IndexAdd op, Tensor[] in, Tensor[] out) {
      return out[0].dtype() == DType.F32 ? null : "needs f32";
    }

    @Override
    public void launch(IndexAdd op, Tensor[] in, Tensor[] out) {
      int axis = in[0].shape().axis(op.axis());
      int[] index = ShapingLaunch.indices(in[1], op.size());
      Memory.zero(out[0].address(), out[0].spec().bytes());
      if (in[0].numel() == 0) {
        return;
      }
      boolean rowMajor = out[0].layout().isContiguous();
      int[] dims = Passes.dims(in[0].shape(), !rowMajor);
      int place = Passes.place(axis, dims.length, !rowMajor);
      int outer = Passes.product(dims, 0, place);
      int inner = Passes.product(dims, place + 1, dims.length);
      int n = index.length;
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      try (Staging staging = new Staging()) {
        long x = rowMajor ? staging.rowMajor(in[0]) : staging.channelsLast(in[0]);
        long y = out[0].address();
        int parts = Math.ceilDiv(inner, COLUMNS);
        Parallel.forRange(
            Math.multiplyExact(outer, parts),
            1,
            (begin, end, worker) -> {
              for (int r = begin; r < end; r++) {
                long column = 4L * COLUMNS * (r % parts);
                int width = Math.min(COLUMNS, inner - COLUMNS * (r % parts));
                long from = x + 4L * inner * n * (r / parts) + column;
                long to = y + 4L * inner * op.size() * (r / parts) + column;
                for (int k = 0; k < n; k++) {
                  long row = to + 4L * inner * index[k];
                  loops.axpby(1, row, 1, from + 4L * inner * k, row, width);
                }
              }
            });
      }
    }
  }
}
