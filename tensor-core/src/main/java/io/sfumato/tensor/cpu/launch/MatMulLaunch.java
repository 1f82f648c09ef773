// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Gemm;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.MatMul;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Matrix products by {@link Gemm}, operands read where they lie, whatever their strides. */
public final class MatMulLaunch implements Kernel<MatMul> {
  @Override
  public @Nullable String refuse(MatMul op, Tensor[] in, Tensor[] out) {
    for (Tensor t : in) {
      if (t.dtype() != DType.F32) {
        return "needs f32";
      }
    }
    return null;
  }

  @Override
  public void launch(MatMul op, Tensor[] in, Tensor[] out) {
    Tensor c = out[0];
    if (c.numel() == 0) {
      return;
    }
    int rank = c.rank();
    int[] dims = Arrays.copyOf(c.shape().dims(), rank - 2);
    long[] a = batchStrides(in[0].layout(), dims);
    long[] b = batchStrides(in[1].layout(), dims);
    long[] y = batchStrides(c.layout(), dims);
    int last = join(dims, a, b, y);
    int inner = last < 0 ? 1 : dims[last];
    int outer = 1;
    for (int i = 0; i < last; i++) {
      outer *= dims[i];
    }
    int k = in[0].dim(op.transposeA() ? -2 : -1);
    for (int s = 0; s < outer; s++) {
      Matrix left = matrix(in[0], offset(dims, a, last, s), last < 0 ? 0 : a[last]);
      Matrix right = matrix(in[1], offset(dims, b, last, s), last < 0 ? 0 : b[last]);
      Gemm.multiply(
          inner,
          c.dim(-2),
          c.dim(-1),
          k,
          op.transposeA() ? left.transposed() : left,
          op.transposeB() ? right.transposed() : right,
          matrix(c, offset(dims, y, last, s), last < 0 ? 0 : y[last]),
          false,
          0);
    }
  }

  private static Matrix matrix(Tensor t, long offset, long batchStride) {
    Layout layout = t.layout();
    return new Matrix(t.address() + 4 * offset, layout.stride(-2), layout.stride(-1), batchStride);
  }

  /** Strides of the leading axes, 0 where they are broadcast to {@code dims}. */
  private static long[] batchStrides(Layout layout, int[] dims) {
    long[] strides = new long[dims.length];
    int shift = dims.length - (layout.shape().rank() - 2);
    for (int i = shift; i < dims.length; i++) {
      strides[i] = layout.shape().dim(i - shift) == 1 ? 0 : layout.stride(i - shift);
    }
    return strides;
  }

  /**
   * Joins batch axes that all operands walk as one, and drops those of size 1.
   *
   * @return the number of the last axis left, or -1
   */
  private static int join(int[] dims, long[]... strides) {
    int last = -1;
    for (int i = 0; i < dims.length; i++) {
      if (dims[i] == 1) {
        continue;
      }
      boolean joins = last >= 0;
      for (long[] s : strides) {
        joins = joins && s[last] == s[i] * dims[i];
      }
      if (joins) {
        dims[last] *= dims[i];
      } else {
        dims[++last] = dims[i];
      }
      for (long[] s : strides) {
        s[last] = s[i];
      }
    }
    return last;
  }

  /** The offset of outer batch {@code index} over axes 0 to {@code last - 1}. */
  private static long offset(int[] dims, long[] strides, int last, int index) {
    long offset = 0;
    int rest = index;
    for (int i = last - 1; i >= 0; i--) {
      offset += rest % dims[i] * strides[i];
      rest /= dims[i];
    }
    return offset;
  }
}
