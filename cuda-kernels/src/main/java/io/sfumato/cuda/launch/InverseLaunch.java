// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Inverse;

/** Inverses of matrices: small ones in shared memory, others in memory for the time of a launch. */
final class InverseLaunch {
  private static final int MOST = 48; // as in inverse.cu
  private static final int MANY = 256;
  private static final String[] SMALL = Types.names("inverse_");
  private static final String[] LARGE = Types.names("inverse_large_");

  private InverseLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(Inverse.class, new Inversion());
  }

  /** {@link Inverse}. */
  private static final class Inversion implements Kernel<Inverse> {
    @Override
    public void launch(Inverse op, Tensor[] in, Tensor[] out) {
      int n = in[0].dim(-1);
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      int type = in[0].dtype().ordinal();
      long count = out[0].numel() / n / n;
      try (Staging staging = new Staging(gpu)) {
        long a = staging.rowMajor(in[0]);
        if (n <= MOST) {
          Launch small = gpu.kernel("inverse", SMALL[type]).grid(count).block(2 * MOST);
          small.pointer(a).pointer(out[0]).i32(n).run();
        } else {
          long work = staging.allocate(count * n * 2L * n * Double.BYTES);
          Launch large = gpu.kernel("inverse", LARGE[type]).grid(count).block(MANY);
          large.pointer(a).pointer(out[0]).pointer(work).i32(n).run();
        }
      }
    }
  }
}
