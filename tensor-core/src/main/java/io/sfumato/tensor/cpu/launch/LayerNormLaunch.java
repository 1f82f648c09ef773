// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.LayerNormKernel;
import io.sfumato.tensor.cpu.LayerNormKernel.Affine;
import io.sfumato.tensor.cpu.LayerNormKernel.Gradients;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.LayerNorm;
import io.sfumato.tensor.ops.LayerNormBackward;
import io.sfumato.tensor.ops.LayerNormModulate;
import io.sfumato.tensor.ops.LayerNormModulateBackward;
import io.sfumato.tensor.ops.RmsNorm;
import io.sfumato.tensor.ops.RmsNormBackward;
import org.jspecify.annotations.Nullable;

/** Normalisations of rows by {@link LayerNormKernel}. */
public final class LayerNormLaunch {
  private LayerNormLaunch() {}

  /** Layer normalisation. */
  public static final class Forward implements Kernel<LayerNorm> {
    @Override
    public @Nullable String refuse(LayerNorm op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(LayerNorm op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        int rows = Math.toIntExact(out[1].numel());
        int n = Math.toIntExact(in[0].numel() / rows);
        long w = op.weight() ? staging.rowMajor(in[1]) : 0;
        long b = op.bias() ? staging.rowMajor(in[op.weight() ? 2 : 1]) : 0;
        LayerNormKernel.forward(
            staging.rowMajor(in[0]),
            out[0].address(),
            out[1].address(),
            out[2].address(),
            Affine.of(rows, n, w, b),
            op.eps());
      }
    }
  }

  /** Gradients of layer normalisation. */
  public static final class Backward implements Kernel<LayerNormBackward> {
    @Override
    public @Nullable String refuse(LayerNormBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(LayerNormBackward op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        int rows = Math.toIntExact(in[2].numel());
        int n = Math.toIntExact(in[1].numel() / rows);
        long w = op.weight() ? staging.rowMajor(in[4]) : 0;
        long dw = op.dw() ? out[1].address() : 0;
        long db = op.db() ? out[op.dw() ? 2 : 1].address() : 0;
        LayerNormKernel.backward(
            staging.rowMajor(in[1]),
            staging.rowMajor(in[0]),
            staging.rowMajor(in[2]),
            staging.rowMajor(in[3]),
            Affine.of(rows, n, w, 0),
            new Gradients(out[0].address(), dw, db, 0, 0, 0));
      }
    }
  }

  /** Adaptive layer normalisation. */
  public static final class Modulate implements Kernel<LayerNormModulate> {
    @Override
    public @Nullable String refuse(LayerNormModulate op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(LayerNormModulate op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        LayerNormKernel.forward(
            staging.rowMajor(in[0]),
            out[0].address(),
            out[1].address(),
            out[2].address(),
            affine(in[0], in[1], in[2], staging),
            op.eps());
      }
    }
  }

  /** Gradients of adaptive layer normalisation. */
  public static final class ModulateBackward implements Kernel<LayerNormModulateBackward> {
    @Override
    public @Nullable String refuse(LayerNormModulateBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(LayerNormModulateBackward op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        long dx = out[0].address();
        long dshift = op.modulation() ? out[1].address() : 0;
        long dscale = op.modulation() ? out[2].address() : 0;
        LayerNormKernel.backward(
            staging.rowMajor(in[1]),
            staging.rowMajor(in[0]),
            staging.rowMajor(in[2]),
            staging.rowMajor(in[3]),
            affine(in[1], null, in[4], staging),
            new Gradients(dx, 0, 0, dscale, dshift, in[1].dim(2)));
      }
    }
  }

  /** Rows of the modulation may be slices of a wider product. */
  static Affine affine(Tensor x, @Nullable Tensor shift, Tensor scale, Staging staging) {
    int n = x.dim(2);
    boolean inPlace =
        unitRows(scale)
            && (shift == null
                || (unitRows(shift) && shift.layout().stride(0) == scale.layout().stride(0)));
    long scales = inPlace ? scale.address() : staging.rowMajor(scale);
    long shifts = shift == null ? 0 : inPlace ? shift.address() : staging.rowMajor(shift);
    long stride = inPlace ? scale.layout().stride(0) : n;
    return new Affine(x.dim(0), x.dim(1), n, 0, 0, scales, shifts, stride);
  }

  static boolean unitRows(Tensor t) {
    return t.layout().stride(1) == 1 || t.dim(1) == 1;
  }

  /** Root-mean-square normalisation. */
  public static final class Rms implements Kernel<RmsNorm> {
    @Override
    public @Nullable String refuse(RmsNorm op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(RmsNorm op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        int n = in[0].dim(-1);
        LayerNormKernel.rmsForward(
            staging.rowMajor(in[0]),
            out[0].address(),
            op.weight() ? staging.rowMajor(in[1]) : 0,
            out[1].address(),
            Math.toIntExact(in[0].numel() / n),
            n,
            op.eps());
      }
    }
  }

  /** Gradients of root-mean-square normalisation. */
  public static final class RmsBackward implements Kernel<RmsNormBackward> {
    @Override
    public @Nullable String refuse(RmsNormBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(RmsNormBackward op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        int n = in[1].dim(-1);
        LayerNormKernel.rmsBackward(
            staging.rowMajor(in[1]),
            staging.rowMajor(in[0]),
            op.weight() ? staging.rowMajor(in[3]) : 0,
            staging.rowMajor(in[2]),
            out[0].address(),
            op.dw() ? out[1].address() : 0,
            Math.toIntExact(in[1].numel() / n),
            n);
      }
    }
  }
}
