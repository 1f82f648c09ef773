// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.GatedRows;
import io.sfumato.tensor.cpu.LayerNormKernel;
import io.sfumato.tensor.cpu.LayerNormKernel.Gradients;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.GatedResidualNormBackward;
import org.jspecify.annotations.Nullable;

/** Gated residuals with the normalisation after them: {@link GatedRows} and layer norm. */
public final class GatedNormLaunch {
  private GatedNormLaunch() {}

  /** Sum and normalisation. */
  public static final class Forward implements Kernel<GatedResidualNorm> {
    @Override
    public @Nullable String refuse(GatedResidualNorm op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GatedResidualNorm op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        long x = staging.rowMajor(in[0]);
        long y = staging.rowMajor(in[1]);
        residual(in[0], in[2], staging).forward(x, y, out[1].address());
        LayerNormKernel.forward(
            out[1].address(),
            out[0].address(),
            out[2].address(),
            out[3].address(),
            LayerNormLaunch.affine(in[0], in[3], in[4], staging),
            op.eps());
      }
    }
  }

  /** The gradients. */
  public static final class Backward implements Kernel<GatedResidualNormBackward> {
    @Override
    public @Nullable String refuse(GatedResidualNormBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GatedResidualNormBackward op, Tensor[] in, Tensor[] out) {
      boolean sums = op.modulation();
      Tensor h = in[2];
      try (Staging staging = new Staging()) {
        long dx = out[0].address();
        long dshift = sums ? out[3].address() : 0;
        long dscale = sums ? out[4].address() : 0;
        LayerNormKernel.backward(
            staging.rowMajor(h),
            staging.rowMajor(in[0]),
            staging.rowMajor(in[3]),
            staging.rowMajor(in[4]),
            LayerNormLaunch.affine(h, null, in[7], staging),
            new Gradients(dx, 0, 0, dscale, dshift, h.dim(2)));
        residual(h, in[6], staging)
            .backward(
                dx,
                staging.rowMajor(in[1]),
                sums ? staging.rowMajor(in[5]) : 0,
                out[1].address(),
                sums ? out[2].address() : 0);
      }
    }
  }

  private static GatedRows residual(Tensor x, Tensor gate, Staging staging) {
    boolean inPlace = LayerNormLaunch.unitRows(gate);
    return new GatedRows(
        x.dim(0),
        x.dim(1),
        x.dim(2),
        inPlace ? gate.address() : staging.rowMajor(gate),
        inPlace ? gate.layout().stride(0) : x.dim(2));
  }
}
