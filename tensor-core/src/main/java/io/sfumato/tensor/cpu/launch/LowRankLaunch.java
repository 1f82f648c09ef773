// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Gemm.Matrix;
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
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(LowRank op, Tensor[] in, Tensor[] out) {
      int k = in[1].dim(1);
      int n = in[1].dim(0);
      try (Staging staging = new Staging()) {
        LowRankKernel.forward(
            Math.toIntExact(in[0].numel() / k),
            n,
            k,
            in[2].dim(0),
            staging.rows(in[0]),
            matrix(in[1]),
            matrix(in[2]),
            matrix(in[3]),
            (float) op.scale(),
            op.bias() ? staging.rowMajor(in[4]) : 0,
            out[0].address());
      }
    }
  }

  /** The gradients of the factors. */
  public static final class Gradients implements Kernel<LowRankGradients> {
    @Override
    public @Nullable String refuse(LowRankGradients op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(LowRankGradients op, Tensor[] in, Tensor[] out) {
      int n = in[0].dim(-1);
      int k = in[1].dim(-1);
      try (Staging staging = new Staging()) {
        LowRankKernel.gradients(
            Math.toIntExact(in[0].numel() / n),
            n,
            k,
            in[2].dim(0),
            staging.rows(in[0]),
            staging.rows(in[1]),
            matrix(in[2]),
            matrix(in[3]),
            (float) op.scale(),
            out[0].address(),
            out[1].address());
      }
    }
  }

  private static Matrix matrix(Tensor t) {
    return new Matrix(t.address(), t.layout().stride(0), t.layout().stride(1), 0);
  }
}
