// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.NearestCode;
import org.jspecify.annotations.Nullable;

/** Vector quantisation. */
final class CodesLaunch {
  private static final int ROWS = 64; // as in codes.cu
  private static final String[] NAMES = Types.names("nearest_code_");

  private CodesLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(NearestCode.class, new Nearest());
  }

  /** {@link NearestCode}. */
  private static final class Nearest implements Kernel<NearestCode> {
    @Override
    public @Nullable String refuse(NearestCode op, Tensor[] in, Tensor[] out) {
      return in[0].dtype() == DType.F64 ? "needs f32, bf16 or f16" : null;
    }

    @Override
    public void launch(NearestCode op, Tensor[] in, Tensor[] out) {
      long n = out[0].numel();
      if (n == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      try (Staging staging = new Staging(gpu)) {
        gpu.kernel("codes", NAMES[in[0].dtype().ordinal()])
            .grid(Blocks.ceil(n, ROWS))
            .block(256)
            .pointer(staging.rowMajor(in[0]))
            .pointer(staging.rowMajor(in[1]))
            .pointer(out[0])
            .i64(n)
            .i32(in[1].dim(0))
            .i32(in[1].dim(1))
            .run();
      }
    }
  }
}
