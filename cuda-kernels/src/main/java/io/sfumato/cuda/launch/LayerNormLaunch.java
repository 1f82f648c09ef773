// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.NormRows.Affine;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.LayerNorm;
import io.sfumato.tensor.ops.LayerNormBackward;
import io.sfumato.tensor.ops.LayerNormModulate;
import io.sfumato.tensor.ops.LayerNormModulateBackward;
import io.sfumato.tensor.ops.RmsNorm;
import io.sfumato.tensor.ops.RmsNormBackward;
import org.jspecify.annotations.Nullable;

/** Normalisations of rows. */
final class LayerNormLaunch {
  private LayerNormLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(LayerNorm.class, new Forward())
        .add(LayerNormBackward.class, new Backward())
        .add(LayerNormModulate.class, new Modulate())
        .add(LayerNormModulateBackward.class, new ModulateBackward())
        .add(RmsNorm.class, new Rms())
        .add(RmsNormBackward.class, new RmsBackward());
  }

  private static NormRows rows(Gpu gpu, Tensor x, long rows) {
    return new NormRows(
        gpu, x.dtype(), 1, Math.toIntExact(rows), Math.toIntExact(x.numel() / rows));
  }

  /** Layer normalisation. */
  static final class Forward implements Kernel<LayerNorm> {
    @Override
    public @Nullable String refuse(LayerNorm op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(LayerNorm op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      try (Staging staging = new Staging(gpu)) {
        long w = op.weight() ? staging.rowMajor(in[1]) : 0;
        long b = op.bias() ? staging.rowMajor(in[op.weight() ? 2 : 1]) : 0;
        rows(gpu, in[0], out[1].numel())
            .forward(
                staging.rowMajor(in[0]),
                out[0].address(),
                out[1].address(),
                out[2].address(),
                Affine.weights(w, b),
                op.eps());
      }
    }
  }

  /** Gradients of layer normalisation. */
  static final class Backward implements Kernel<LayerNormBackward> {
    @Override
    public @Nullable String refuse(LayerNormBackward op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(LayerNormBackward op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      try (Staging staging = new Staging(gpu)) {
        rows(gpu, in[1], in[2].numel())
            .backward(
                staging.rowMajor(in[0]),
                staging.rowMajor(in[1]),
                NormRows.statistics(gpu, staging, in[2]),
                NormRows.statistics(gpu, staging, in[3]),
                Affine.weights(op.weight() ? staging.rowMajor(in[4]) : 0, 0),
                out[0].address(),
                op.dw() ? out[1].address() : 0,
                op.db() ? out[op.dw() ? 2 : 1].address() : 0);
      }
    }
  }

  /** Adaptive layer normalisation. */
  static final class Modulate implements Kernel<LayerNormModulate> {
    @Override
    public @Nullable String refuse(LayerNormModulate op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(LayerNormModulate op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      try (Staging staging = new Staging(gpu)) {
        Affine a =
            new Affine(
                vectors(in[2], staging), stride(in[2]), vectors(in[1], staging), stride(in[1]), 1);
        modulated(gpu, in[0])
            .forward(
                staging.rowMajor(in[0]),
                out[0].address(),
                out[1].address(),
                out[2].address(),
                a,
                op.eps());
      }
    }
  }

  /** Gradients of adaptive layer normalisation. */
  static final class ModulateBackward implements Kernel<LayerNormModulateBackward> {
    @Override
    public @Nullable String refuse(LayerNormModulateBackward op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(LayerNormModulateBackward op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      try (Staging staging = new Staging(gpu)) {
        modulated(gpu, in[1])
            .backward(
                staging.rowMajor(in[0]),
                staging.rowMajor(in[1]),
                NormRows.statistics(gpu, staging, in[2]),
                NormRows.statistics(gpu, staging, in[3]),
                new Affine(vectors(in[4], staging), stride(in[4]), 0, 0, 1),
                out[0].address(),
                op.modulation() ? out[2].address() : 0,
                op.modulation() ? out[1].address() : 0);
      }
    }
  }

  private static NormRows modulated(Gpu gpu, Tensor x) {
    return new NormRows(gpu, x.dtype(), x.dim(0), x.dim(1), x.dim(2));
  }

  /** Rows of the modulation [B, D] where they lie, which may be slices of a wider product. */
  private static long vectors(Tensor t, Staging staging) {
    return unitRows(t) ? t.address() : staging.rowMajor(t);
  }

  private static long stride(Tensor t) {
    return unitRows(t) ? t.layout().stride(0) : t.dim(1);
  }

  private static boolean unitRows(Tensor t) {
    return t.layout().stride(1) == 1 || t.dim(1) == 1;
  }

  /** Root-mean-square normalisation. */
  static final class Rms implements Kernel<RmsNorm> {
    @Override
    public @Nullable String refuse(RmsNorm op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(RmsNorm op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      try (Staging staging = new Staging(gpu)) {
        rows(gpu, in[0], out[1].numel())
            .forward(
                staging.rowMajor(in[0]),
                out[0].address(),
                0,
                out[1].address(),
                Affine.weights(op.weight() ? staging.rowMajor(in[1]) : 0, 0),
                op.eps());
      }
    }
  }

  /** Gradients of root-mean-square normalisation. */
  static final class RmsBackward implements Kernel<RmsNormBackward> {
    @Override
    public @Nullable String refuse(RmsNormBackward op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(RmsNormBackward op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      try (Staging staging = new Staging(gpu)) {
        rows(gpu, in[1], in[2].numel())
            .backward(
                staging.rowMajor(in[0]),
                staging.rowMajor(in[1]),
                0,
                NormRows.statistics(gpu, staging, in[2]),
                Affine.weights(op.weight() ? staging.rowMajor(in[3]) : 0, 0),
                out[0].address(),
                op.dw() ? out[1].address() : 0,
                0);
      }
    }
  }
}
