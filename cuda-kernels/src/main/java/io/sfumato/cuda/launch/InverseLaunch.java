// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Inverse;
import org.jspecify.annotations.Nullable;

/** Inverses of small matrices. */
final class InverseLaunch {
  private static final int MOST = 48; // as in inverse.cu
  private static final String[] NAMES = Types.names("inverse_");

  private InverseLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(Inverse.class, new Inversion());
  }

  /** {@link Inverse}. */
  private static final class Inversion implements Kernel<Inverse> {
    @Override
    public @Nullable String refuse(Inverse op, Tensor[] in, Tensor[] out) {
      if (in[0].dtype() == DType.F64) {
        return "needs f32, bf16 or f16";
      }
      return in[0].dim(-1) > MOST ? "needs matrices of " + MOST + " rows at most" : null;
    }

    @Override
    public void launch(Inverse op, Tensor[] in, Tensor[] out) {
      int n = in[0].dim(-1);
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      try (Staging staging = new Staging(gpu)) {
        gpu.kernel("inverse", NAMES[in[0].dtype().ordinal()])
            .grid(Math.toIntExact(out[0].numel() / n / n))
            .block(2 * MOST)
            .pointer(staging.rowMajor(in[0]))
            .pointer(out[0])
            .i32(n)
            .run();
      }
    }
  }
}
