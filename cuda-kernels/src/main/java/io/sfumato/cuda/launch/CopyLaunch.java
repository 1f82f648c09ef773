// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Concat;
import io.sfumato.tensor.ops.Contiguous;
import io.sfumato.tensor.ops.CopyInto;
import io.sfumato.tensor.ops.Flip;
import io.sfumato.tensor.ops.Roll;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Moves of elements from one memory order to another, and joins. */
final class CopyLaunch {
  private CopyLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(Contiguous.class, new Move())
        .add(CopyInto.class, new Into())
        .add(Concat.class, new Join())
        .add(Flip.class, new Reversal())
        .add(Roll.class, new Shift());
  }

  /** Copies {@code t} to memory at {@code to} in the order of {@code wanted}. */
  static void copy(Gpu gpu, Tensor t, long to, Layout wanted) {
    new Copies(gpu, t.dtype().bytes()).add(t.address(), t.layout(), to, wanted).run();
  }

  /** {@code y = x}, of one shape and element size. */
  static void copy(Tensor x, Tensor y) {
    copy(Gpu.of(y), x, y.address(), y.layout());
  }

  /** The address of the first element of a view of {@code t}. */
  private static long address(Tensor t, Layout view) {
    return t.storage().address() + view.offset() * t.dtype().bytes();
  }

  /** {@link Contiguous}. */
  private static final class Move implements Kernel<Contiguous> {
    @Override
    public @Nullable String refuse(Contiguous op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }

    @Override
    public void launch(Contiguous op, Tensor[] in, Tensor[] out) {
      copy(in[0], out[0]);
    }
  }

  /** {@link CopyInto}. */
  private static final class Into implements Kernel<CopyInto> {
    @Override
    public @Nullable String refuse(CopyInto op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(in[0]);
    }

    @Override
    public void launch(CopyInto op, Tensor[] in, Tensor[] out) {
      ChoiceLaunch.cast(in[1], in[0]);
    }
  }

  /** {@link Concat}: all parts in one launch. */
  private static final class Join implements Kernel<Concat> {
    @Override
    public @Nullable String refuse(Concat op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }

    @Override
    public void launch(Concat op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      int axis = y.shape().axis(op.axis());
      Copies copies = new Copies(Gpu.of(y), y.dtype().bytes());
      int at = 0;
      for (Tensor x : in) {
        int end = at + x.dim(axis);
        Layout part = y.layout().slice(axis, at, end, 1);
        copies.add(x.address(), x.layout(), address(y, part), part);
        at = end;
      }
      copies.run();
    }
  }

  /** {@link Flip}: a copy with negative steps. */
  private static final class Reversal implements Kernel<Flip> {
    @Override
    public @Nullable String refuse(Flip op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }

    @Override
    public void launch(Flip op, Tensor[] in, Tensor[] out) {
      Tensor x = in[0];
      Shape shape = x.shape();
      if (shape.numel() == 0) {
        return;
      }
      long[] strides = x.layout().strides();
      long first = x.layout().offset();
      for (int axis : op.axes()) {
        int a = shape.axis(axis);
        first += (shape.dim(a) - 1) * strides[a];
        strides[a] = -strides[a];
      }
      Layout reversed = Layout.of(shape, strides, first);
      new Copies(Gpu.of(x), x.dtype().bytes())
          .add(address(x, reversed), reversed, out[0].address(), out[0].layout())
          .run();
    }
  }

  /** {@link Roll}: two parts for each shifted axis. */
  private static final class Shift implements Kernel<Roll> {
    @Override
    public @Nullable String refuse(Roll op, Tensor[] in, Tensor[] out) {
      return Walk.refuse(out[0]);
    }

    @Override
    public void launch(Roll op, Tensor[] in, Tensor[] out) {
      Copies copies = new Copies(Gpu.of(out[0]), out[0].dtype().bytes());
      if (out[0].numel() > 0) {
        add(copies, op.shifts(), op.axes(), in[0], in[0].layout(), out[0], out[0].layout());
      }
      copies.run();
    }

    /** Adds the parts that shifts of the axes of {@code x} make. */
    private static void add(
        Copies copies,
        List<Integer> shifts,
        List<Integer> axes,
        Tensor x,
        Layout from,
        Tensor y,
        Layout to) {
      if (axes.isEmpty()) {
        copies.add(address(x, from), from, address(y, to), to);
        return;
      }
      int axis = x.shape().axis(axes.getFirst());
      int size = x.dim(axis);
      int shift = Math.floorMod(shifts.getFirst(), size);
      List<Integer> otherShifts = shifts.subList(1, shifts.size());
      List<Integer> otherAxes = axes.subList(1, axes.size());
      Layout head = from.slice(axis, 0, size - shift, 1);
      add(copies, otherShifts, otherAxes, x, head, y, to.slice(axis, shift, size, 1));
      if (shift > 0) {
        Layout tail = from.slice(axis, size - shift, size, 1);
        add(copies, otherShifts, otherAxes, x, tail, y, to.slice(axis, 0, shift, 1));
      }
    }
  }
}
