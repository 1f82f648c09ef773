// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.GatedResidual;
import io.sfumato.tensor.ops.GatedResidualBackward;

/** Gated residual sums. */
final class GatedLaunch {
  private static final String FAMILY = "gated";
  private static final int LANES = 4; // vectors of columns of a block

  private GatedLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(GatedResidual.class, new Forward())
        .add(GatedResidualBackward.class, new Backward());
  }

  /** {@link GatedResidual}. */
  private static final class Forward implements Kernel<GatedResidual> {
    private static final String[] NAMES = Types.names("gated_residual_");

    @Override
    public void launch(GatedResidual op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      DType dtype = y.dtype();
      Layout gate = in[2].layout().unsqueeze(1); // [B, 1, D]
      Walk.of(
              new long[] {y.address(), in[0].address(), in[1].address(), in[2].address()},
              new int[] {dtype.bytes(), dtype.bytes(), dtype.bytes(), dtype.bytes()},
              y.layout(),
              in[0].layout(),
              in[1].layout(),
              gate)
          .pieces(
              walk ->
                  Gpu.of(y)
                      .kernel(FAMILY, NAMES[dtype.ordinal()])
                      .grid(walk.blocks())
                      .block(Walk.THREADS)
                      .pointer(walk.address(1))
                      .pointer(walk.address(2))
                      .pointer(walk.address(3))
                      .pointer(walk.address(0))
                      .longs(walk.longs(Walk.vector(dtype, dtype)))
                      .run());
    }
  }

  /** {@link GatedResidualBackward}. */
  private static final class Backward implements Kernel<GatedResidualBackward> {
    private static final String[] WIDE = Types.names("gated_backward_");
    private static final String[] NARROW = Types.names("gated_backward_narrow_");

    @Override
    public void launch(GatedResidualBackward op, Tensor[] in, Tensor[] out) {
      int tokens = in[0].dim(1);
      int d = in[0].dim(2);
      Gpu gpu = Gpu.of(in[0]);
      if (out[0].numel() == 0) {
        gpu.zero(out[1].address(), out[1].spec().bytes());
        return;
      }
      DType dtype = in[0].dtype();
      try (Staging staging = new Staging(gpu)) {
        long h = staging.rowMajor(in[0]);
        long dy = staging.rowMajor(in[2]);
        boolean rows = d == 1 || in[1].layout().stride(1) == 1;
        long gate = rows ? in[1].address() : staging.rowMajor(in[1]);
        long step = rows ? in[1].layout().stride(0) : d;
        int vector = Walk.vector(dtype, dtype);
        boolean wide = ((h | dy | gate | out[0].address()) & 15) == 0 && (d | step) % vector == 0;
        int columns = LANES * (wide ? vector : 1);
        gpu.kernel(FAMILY, (wide ? WIDE : NARROW)[dtype.ordinal()])
            .grid((long) in[0].dim(0) * ((d + columns - 1) / columns))
            .block(Walk.THREADS)
            .pointer(h)
            .pointer(gate)
            .pointer(dy)
            .pointer(out[0])
            .pointer(out[1])
            .i32(tokens)
            .i32(d)
            .i64(step)
            .run();
      }
    }
  }
}
