// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Contiguous;
import org.jspecify.annotations.Nullable;

/** Moves of elements from one memory order to another. */
public final class CopyLaunch {
  private static final int MOST_AXES = 8;
  private static final int THREADS = 256;

  private CopyLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(Contiguous.class, new Move());
  }

  /** Copies {@code t} to memory at {@code to} in the order of {@code wanted}. */
  static void copy(Gpu gpu, Tensor t, long to, Layout wanted) {
    long n = t.numel();
    if (n == 0) {
      return;
    }
    int rank = t.rank();
    long[] walk = new long[1 + 3 * MOST_AXES];
    walk[0] = rank;
    for (int i = 0; i < rank; i++) {
      walk[1 + i] = t.dim(i);
      walk[1 + MOST_AXES + i] = t.layout().stride(i);
      walk[1 + 2 * MOST_AXES + i] = wanted.stride(i);
    }
    gpu.kernel("copy", "strided_copy_" + t.dtype().bytes())
        .grid((n + THREADS - 1) / THREADS)
        .block(THREADS)
        .pointer(t)
        .pointer(to)
        .longs(walk)
        .i64(n)
        .run();
  }

  /** {@link Contiguous}. */
  static final class Move implements Kernel<Contiguous> {
    @Override
    public @Nullable String refuse(Contiguous op, Tensor[] in, Tensor[] out) {
      return in[0].rank() > MOST_AXES ? "needs at most " + MOST_AXES + " axes" : null;
    }

    @Override
    public void launch(Contiguous op, Tensor[] in, Tensor[] out) {
      copy(Gpu.of(in[0]), in[0], out[0].address(), out[0].layout());
    }
  }
}
