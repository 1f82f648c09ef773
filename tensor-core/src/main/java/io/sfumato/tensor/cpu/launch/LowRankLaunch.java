// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.HalfLowRank;
import io.sfumato.tensor.cpu.LowRankKernel;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.LowRank;
import io.sfumato.tensor.ops.LowRankGradients;
import org.jspecify.annotations.Nullable;

/** Linear layers with a low-rank change of the weight, by {@link LowRankKernel}. */
public final class LowRankLaunch {
  private LowRankLaunch() {}

  /** The layer, and the gradient of its input. */
  public static final class Forward implements Kernel<LowRank> {
    @Override
    public @Nullable String refuse(LowRank op, Tensor[] in, Tensor[] out) {
      return Staging.refuseBesideBfloat16(in, out);
    }

    @Override
    public void launch(LowRank op, Tensor[] in, Tensor[] out) {
      int k = in[1].dim(1);
      int n = in[1].dim(0);
      try (Staging staging = new Staging()) {
        int m = Math.toIntExact(in[0].numel() / k);
        int r = in[2].dim(0);
        Matrix x = staging.rows(in[0]);
        Matrix w = matrix(in[1]);
        Matrix a = matrix(in[2]);
        Matrix b = matrix(in[3]);
        float scale = (float) op.scale();
        long bias = op.bias() ? staging.floats(in[4]) : 0;
        long y = out[0].address();
        if (out[0].dtype().isHalf()) {
          HalfLowRank.forward(m, n, k, r, x, w, a, b, scale, bias, y);
        } else {
          LowRankKernel.forward(m, n, k, r, x, w, a, b, scale, bias, y);
        }
      }
    }
  }

  /** The gradients of the factors. */
  public static final class Gradients implements Kernel<LowRankGradients> {
    @Override
    public @Nullable String refuse(LowRankGradients op, Tensor[] in, Tensor[] out) {
      return Staging.refuseBesideBfloat16(in, out);
    }

    @Override
    public void launch(LowRankGradients op, Tensor[] in, Tensor[] out) {
      int n = in[0].dim(-1);
      int k = in[1].dim(-1);
      try (Staging staging = new Staging()) {
        int m = Math.toIntExact(in[0].numel() / n);
        int r = in[2].dim(0);
        Matrix dy = staging.rows(in[0]);
        Matrix x = staging.rows(in[1]);
        Matrix a = matrix(in[2]);
        Matrix b = matrix(in[3]);
        float scale = (float) op.scale();
        long da = out[0].address();
        long db = out[1].address();
        if (out[0].dtype().isHalf()) {
          HalfLowRank.gradients(m, n, k, r, dy, x, a, b, scale, da, db);
        } else {
          LowRankKernel.gradients(m, n, k, r, dy, x, a, b, scale, da, db);
        }
      }
    }
  }

  private static Matrix matrix(Tensor t) {
    return new Matrix(t.address(), t.layout().stride(0), t.layout().stride(1), 0, t.dtype());
  }
}
