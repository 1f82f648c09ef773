// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.StridedCopy;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Operands in the memory order that a kernel's loops demand: the tensor itself where it lies so,
 * else a copy that lives until this is closed.
 */
final class Staging implements AutoCloseable {
  private final List<Storage> copies = new ArrayList<>();

  /** Why f32 loops do not take the case, or null: other types, or nothing to compute. */
  static @Nullable String refuse(Tensor[] in, Tensor[] out) {
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        if (t.dtype() != DType.F32) {
          return "needs f32";
        }
        if (t.numel() == 0) {
          return "needs elements";
        }
      }
    }
    return null;
  }

  /** Why loops for f32, bf16 or f16 do not take the case, or null. */
  static @Nullable String refuseMixed(Tensor[] in, Tensor[] out) {
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        if (t.numel() == 0) {
          return "needs elements";
        }
      }
    }
    return Operands.floatsOrHalves(in, out);
  }

  /** Why loops for f32 and for bf16 do not take the case, or null. */
  static @Nullable String refuseBesideBfloat16(Tensor[] in, Tensor[] out) {
    return out[0].dtype() == DType.BF16 ? refuseMixed(in, out) : refuse(in, out);
  }

  /** Address of the elements as f32 in row-major order. */
  long floats(Tensor t) {
    return rowMajor(t.dtype() == DType.F32 ? t : widened(t));
  }

  /** A copy in f32. */
  Tensor widened(Tensor t) {
    Storage storage = CpuBackend.instance().allocate(4 * t.numel());
    copies.add(storage);
    Tensor wide = Tensor.owned(storage, t.layout().like(t.shape()), DType.F32, null);
    MoveLaunch.copy(t, wide);
    return wide;
  }

  /** Address of the elements in row-major order. */
  long rowMajor(Tensor t) {
    return t.layout().isContiguous() ? t.address() : copy(t, Layout.contiguous(t.shape()));
  }

  /** A tensor [..., n] as a matrix with contiguous rows, copied if it does not lie so. */
  Matrix rows(Tensor x) {
    int n = x.dim(-1);
    Layout rows = x.layout().reshape(Shape.of(Math.toIntExact(x.numel() / n), n));
    return rows == null || (rows.stride(1) != 1 && n > 1)
        ? Matrix.rowMajor(rowMajor(x), n, x.dtype())
        : new Matrix(x.address(), rows.stride(0), 1, 0, x.dtype());
  }

  /** Address of the elements in channels-last order. */
  long channelsLast(Tensor t) {
    return t.layout().isChannelsLast() ? t.address() : copy(t, Layout.channelsLast(t.shape()));
  }

  /** Address of the elements in the order of {@code wanted}, a dense layout of the same shape. */
  long ordered(Tensor t, Layout wanted) {
    return t.layout().sameStrides(wanted) ? t.address() : copy(t, wanted.like(t.shape()));
  }

  /** Uninitialised memory. */
  long allocate(long bytes) {
    Storage storage = CpuBackend.instance().allocate(bytes);
    copies.add(storage);
    return storage.address();
  }

  private long copy(Tensor t, Layout wanted) {
    long to = allocate(t.spec().bytes());
    StridedCopy.copy(t.dtype().bytes(), t.address(), t.layout(), to, wanted);
    return to;
  }

  @Override
  public void close() {
    copies.forEach(Storage::release);
  }
}
