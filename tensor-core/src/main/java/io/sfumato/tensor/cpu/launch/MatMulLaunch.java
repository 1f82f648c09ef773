// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Gemm;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.exec.BatchAxes;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.MatMul;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Matrix products by {@link Gemm}, in f32, bf16 or f16: operands read where they lie, whatever
 * their strides.
 */
public final class MatMulLaunch implements Kernel<MatMul> {
  @Override
  public @Nullable String refuse(MatMul op, Tensor[] in, Tensor[] out) {
    return Operands.floatsOrHalves(in, out);
  }

  @Override
  public void launch(MatMul op, Tensor[] in, Tensor[] out) {
    Tensor c = out[0];
    if (c.numel() == 0) {
      return;
    }
    int rank = c.rank();
    int[] dims = Arrays.copyOf(c.shape().dims(), rank - 2);
    long[] a = BatchAxes.strides(in[0].layout(), dims);
    long[] b = BatchAxes.strides(in[1].layout(), dims);
    long[] y = BatchAxes.strides(c.layout(), dims);
    int last = BatchAxes.join(dims, a, b, y);
    int inner = last < 0 ? 1 : dims[last];
    int outer = 1;
    for (int i = 0; i < last; i++) {
      outer *= dims[i];
    }
    int k = in[0].dim(op.transposeA() ? -2 : -1);
    for (int s = 0; s < outer; s++) {
      Matrix left = matrix(in[0], BatchAxes.offset(dims, a, last, s), last < 0 ? 0 : a[last]);
      Matrix right = matrix(in[1], BatchAxes.offset(dims, b, last, s), last < 0 ? 0 : b[last]);
      Gemm.multiply(
          inner,
          c.dim(-2),
          c.dim(-1),
          k,
          op.transposeA() ? left.transposed() : left,
          op.transposeB() ? right.transposed() : right,
          matrix(c, BatchAxes.offset(dims, y, last, s), last < 0 ? 0 : y[last]),
          false,
          0);
    }
  }

  private static Matrix matrix(Tensor t, long offset, long batchStride) {
    Layout layout = t.layout();
    return new Matrix(
        t.address() + t.dtype().bytes() * offset,
        layout.stride(-2),
        layout.stride(-1),
        batchStride,
        t.dtype());
  }
}
