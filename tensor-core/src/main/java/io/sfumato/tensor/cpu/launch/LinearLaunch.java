// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Gemm;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.PackedWeights;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Linear;
import org.jspecify.annotations.Nullable;

/**
 * Linear layers by {@link Gemm}, in f32, bf16 or f16: rows may have a stride, the weight any
 * strides; panels of one that does not change are kept.
 */
public final class LinearLaunch implements Kernel<Linear> {
  @Override
  public @Nullable String refuse(Linear op, Tensor[] in, Tensor[] out) {
    return Staging.refuseMixed(in, out);
  }

  @Override
  public void launch(Linear op, Tensor[] in, Tensor[] out) {
    Tensor x = in[0];
    Tensor w = in[1];
    int k = w.dim(1);
    int n = w.dim(0);
    int m = Math.toIntExact(x.numel() / k);
    Layout rows = x.layout().reshape(Shape.of(m, k));
    try (Staging staging = new Staging()) {
      Matrix a =
          rows == null
              ? Matrix.rowMajor(staging.rowMajor(x), k, x.dtype())
              : new Matrix(x.address(), rows.stride(0), rows.stride(1), 0, x.dtype());
      Matrix b = new Matrix(w.address(), w.layout().stride(1), w.layout().stride(0), 0, w.dtype());
      long bias = op.bias() ? staging.floats(in[2]) : 0;
      Matrix y = Matrix.rowMajor(out[0].address(), n, out[0].dtype());
      Gemm.multiply(m, n, k, a, b, PackedWeights.of(w), y, bias);
    }
  }
}
