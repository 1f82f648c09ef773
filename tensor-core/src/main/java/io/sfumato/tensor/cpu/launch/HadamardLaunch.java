// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Gemm;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.HadamardLowRank;
import io.sfumato.tensor.ops.HadamardLowRankGradients;
import org.jspecify.annotations.Nullable;

/**
 * Products with an elementwise product of two matrices of low rank. The matrix is formed in memory
 * for the time of the launch: on a CPU one product with it is faster than to rebuild its parts.
 */
public final class HadamardLaunch {
  private static final int GRAIN = 1 << 14;

  private HadamardLaunch() {}

  /** The product, and the gradient of its input. */
  public static final class Forward implements Kernel<HadamardLowRank> {
    @Override
    public @Nullable String refuse(HadamardLowRank op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(HadamardLowRank op, Tensor[] in, Tensor[] out) {
      int n = in[1].dim(0);
      int k = in[2].dim(1);
      try (Staging staging = new Staging()) {
        Matrix change = product(staging, in[1], in[2]);
        Matrix other = product(staging, in[3], in[4]);
        multiply(change, change, other, n, k, (float) op.scale());
        int m = Math.toIntExact(in[0].numel() / k);
        Matrix y = Matrix.rowMajor(out[0].address(), n);
        Gemm.multiply(1, m, n, k, staging.rows(in[0]), change.transposed(), y, false, 0);
      }
    }
  }

  /** The gradients of the factors. */
  public static final class Gradients implements Kernel<HadamardLowRankGradients> {
    @Override
    public @Nullable String refuse(HadamardLowRankGradients op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(HadamardLowRankGradients op, Tensor[] in, Tensor[] out) {
      int n = in[2].dim(0);
      int k = in[3].dim(1);
      int r = in[2].dim(1);
      int m = Math.toIntExact(in[1].numel() / k);
      try (Staging staging = new Staging()) {
        Matrix g = Matrix.rowMajor(staging.allocate(4L * n * k), k);
        Matrix dy = staging.rows(in[0]).transposed();
        Gemm.multiply(1, n, k, m, dy, staging.rows(in[1]), g, false, 0);
        for (int f = 0; f < 2; f++) {
          Matrix d = product(staging, in[4 - 2 * f], in[5 - 2 * f]);
          multiply(d, d, g, n, k, (float) op.scale());
          Matrix da = Matrix.rowMajor(out[2 * f].address(), r);
          Matrix db = Matrix.rowMajor(out[2 * f + 1].address(), k);
          Gemm.multiply(1, n, r, k, d, matrix(in[3 + 2 * f]).transposed(), da, false, 0);
          Gemm.multiply(1, r, k, n, matrix(in[2 + 2 * f]).transposed(), d, db, false, 0);
        }
      }
    }
  }

  /** {@code AB} in row-major order. */
  private static Matrix product(Staging staging, Tensor a, Tensor b) {
    int n = a.dim(0);
    int k = b.dim(1);
    Matrix c = Matrix.rowMajor(staging.allocate(4L * n * k), k);
    Gemm.multiply(1, n, k, a.dim(1), matrix(a), matrix(b), c, false, 0);
    return c;
  }

  /** {@code c = s a b}, element by element, of row-major [n, k]. */
  private static void multiply(Matrix c, Matrix a, Matrix b, int n, int k, float s) {
    Parallel.forRange(
        n,
        Math.max(1, GRAIN / k),
        (begin, end, worker) -> {
          for (long at = 4L * begin * k; at < 4L * end * k; at += 4) {
            float v = s * Memory.getFloat(a.address() + at) * Memory.getFloat(b.address() + at);
            Memory.putFloat(c.address() + at, v);
          }
        });
  }

  private static Matrix matrix(Tensor t) {
    return new Matrix(t.address(), t.layout().stride(0), t.layout().stride(1), 0);
  }
}
