// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.launch.MoveLaunch;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import java.util.ArrayList;
import java.util.List;

/**
 * Runs an op's f32 kernel on copies of 16-bit operands, widened, and rounds its results. Where the
 * op computes the elements of a batch by themselves, some at a time are widened, computed and
 * rounded by one worker, so that the copies stay in its cache.
 */
final class WidenedLaunch implements AutoCloseable {
  /** Elements of the largest operand that are widened at a time, about. */
  private static final long PIECE = 1 << 16;

  /** Bytes of copies up to which they lie in work space, which a worker keeps. */
  private static final long MOST = 8 << 20;

  private static final long ALIGNMENT = 64;

  private final KernelTable kernels;
  private final Op op;
  private final List<Storage> copies = new ArrayList<>();

  /** Where the next copy lies; 0 for memory of its own. */
  private long space;

  private WidenedLaunch(KernelTable kernels, Op op) {
    this.kernels = kernels;
    this.op = op;
  }

  /** Computes an op, unless none of its operands has 16 bits or there is no kernel: then false. */
  static boolean launch(KernelTable kernels, Op op, Tensor[] in, Tensor[] out) {
    if (!isHalf(in) && !isHalf(out)) {
      return false;
    }
    int pieces = pieces(op, in, out);
    if (pieces > 1 && op instanceof BatchwiseOp batchwise) {
      return launch(kernels, batchwise, in, out, pieces);
    }
    try (WidenedLaunch launch = new WidenedLaunch(kernels, op)) {
      return launch.run(in, out);
    }
  }

  private static boolean isHalf(Tensor[] tensors) {
    for (Tensor t : tensors) {
      if (t.dtype().isHalf()) {
        return true;
      }
    }
    return false;
  }

  /** The pieces that a batch is cut into; their number depends on sizes alone. */
  private static int pieces(Op op, Tensor[] in, Tensor[] out) {
    if (!(op instanceof BatchwiseOp batchwise) || !batchwise.isBatchwise(in[0].shape())) {
      return 1;
    }
    int batch = in[0].dim(0);
    long most = 0;
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        most = Math.max(most, t.numel());
      }
    }
    long together = Math.max(1, PIECE / Math.max(1, most / Math.max(1, batch)));
    return (int) ((batch + together - 1) / together);
  }

  private static boolean launch(
      KernelTable kernels, BatchwiseOp op, Tensor[] in, Tensor[] out, int pieces) {
    int batch = in[0].dim(0);
    try (WidenedLaunch whole = new WidenedLaunch(kernels, op)) {
      Tensor[] ready = in.clone();
      for (int i = 0; i < in.length; i++) {
        if (op.isShared(i)) {
          ready[i] = whole.filled(in[i]);
        }
      }
      Tensor[] targets = out.clone();
      for (int i = 0; i < out.length; i++) {
        if (op.isSummed(i)) {
          targets[i] = whole.copy(Layout.contiguous(partials(out[i].shape(), pieces)));
        }
      }
      Tensor[] firstIn = piece(op, ready, 0, pieces, batch);
      Tensor[] firstOut = pieceOf(op, targets, 0, pieces, batch);
      try (WidenedLaunch first = new WidenedLaunch(kernels, op)) {
        if (kernels.find(op, first.like(firstIn), first.like(firstOut)) == null) {
          return false;
        }
      }
      Parallel.forRange(
          pieces,
          1,
          (begin, end, worker) -> {
            for (int i = begin; i < end; i++) {
              Tensor[] x = piece(op, ready, i, pieces, batch);
              Tensor[] y = pieceOf(op, targets, i, pieces, batch);
              try (WidenedLaunch some = new WidenedLaunch(kernels, op)) {
                long bytes = bytes(x) + bytes(y);
                some.space = bytes > MOST ? 0 : Scratch.get(Scratch.Slot.PIECES, bytes);
                some.run(x, y);
              }
            }
          });
      for (int i = 0; i < out.length; i++) {
        if (op.isSummed(i)) {
          whole.sum(targets[i], pieces, out[i]);
        }
      }
      return true;
    }
  }

  private static Shape partials(Shape shape, int pieces) {
    int[] dims = new int[shape.rank() + 1];
    dims[0] = pieces;
    System.arraycopy(shape.dims(), 0, dims, 1, shape.rank());
    return Shape.of(dims);
  }

  private static Tensor[] piece(BatchwiseOp op, Tensor[] in, int i, int pieces, int batch) {
    Tensor[] some = in.clone();
    for (int k = 0; k < in.length; k++) {
      if (!op.isShared(k)) {
        some[k] = slice(in[k], i, pieces, batch);
      }
    }
    return some;
  }

  private static Tensor[] pieceOf(BatchwiseOp op, Tensor[] out, int i, int pieces, int batch) {
    Tensor[] some = out.clone();
    for (int k = 0; k < out.length; k++) {
      some[k] =
          op.isSummed(k)
              ? view(out[k], out[k].layout().select(0, i))
              : slice(out[k], i, pieces, batch);
    }
    return some;
  }

  private static Tensor slice(Tensor t, int i, int pieces, int batch) {
    int begin = (int) ((long) batch * i / pieces);
    int end = (int) ((long) batch * (i + 1) / pieces);
    return view(t, t.layout().slice(0, begin, end, 1));
  }

  private static Tensor view(Tensor t, Layout layout) {
    return Tensor.owned(t.storage(), layout, t.dtype(), null);
  }

  /** Adds the partial sums in order, and rounds them. */
  private void sum(Tensor partials, int pieces, Tensor out) {
    int n = Math.toIntExact(out.numel());
    Tensor sums = copy(Layout.contiguous(out.shape()));
    Conv2dKernel.columnSums(pieces, n, partials.address(), sums.address());
    MoveLaunch.copy(sums, out);
  }

  /** Runs the kernel on widened copies; false if there is none. */
  private boolean run(Tensor[] in, Tensor[] out) {
    Tensor[] wideIn = new Tensor[in.length];
    for (int i = 0; i < in.length; i++) {
      wideIn[i] = filled(in[i]);
    }
    Tensor[] wideOut = like(out);
    Kernel<Op> kernel = kernels.find(op, wideIn, wideOut);
    if (kernel == null) {
      return false;
    }
    kernel.launch(op, wideIn, wideOut);
    putBack(wideOut, out);
    if (op instanceof InPlaceOp inPlace) {
      for (int i : inPlace.mutated()) {
        if (wideIn[i] != in[i]) {
          MoveLaunch.copy(wideIn[i], in[i]);
        }
      }
    }
    return true;
  }

  private static void putBack(Tensor[] from, Tensor[] to) {
    for (int i = 0; i < to.length; i++) {
      if (from[i] != to[i]) {
        MoveLaunch.copy(from[i], to[i]);
      }
    }
  }

  /** The tensors, or uninitialised f32 in place of those of 16 bits. */
  private Tensor[] like(Tensor[] tensors) {
    Tensor[] wide = tensors.clone();
    for (int i = 0; i < wide.length; i++) {
      Tensor t = tensors[i];
      wide[i] = t.dtype().isHalf() ? copy(t.layout().like(t.shape())) : t;
    }
    return wide;
  }

  private Tensor filled(Tensor t) {
    if (!t.dtype().isHalf()) {
      return t;
    }
    Tensor wide = copy(t.layout().like(t.shape()));
    MoveLaunch.copy(t, wide);
    return wide;
  }

  /** Uninitialised f32 in a layout. */
  private Tensor copy(Layout layout) {
    long bytes = 4 * layout.shape().numel();
    Storage storage;
    if (space == 0) {
      storage = CpuBackend.instance().allocate(bytes);
    } else {
      storage = new Storage(Device.CPU, space, bytes, (address, size) -> {});
      space += aligned(bytes);
    }
    copies.add(storage);
    return Tensor.owned(storage, layout, DType.F32, null);
  }

  /** What copies of tensors need in work space. */
  private static long bytes(Tensor[] tensors) {
    long bytes = 0;
    for (Tensor t : tensors) {
      bytes += t.dtype().isHalf() ? aligned(4 * t.numel()) : 0;
    }
    return bytes;
  }

  private static long aligned(long bytes) {
    return (bytes + ALIGNMENT - 1) & -ALIGNMENT;
  }

  @Override
  public void close() {
    copies.forEach(Storage::release);
  }
}
