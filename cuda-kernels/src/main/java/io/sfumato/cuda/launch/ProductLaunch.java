// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.ReducedAxes;
import io.sfumato.tensor.ops.ProdBackward;

/** Gradients of products of elements. */
final class ProductLaunch {
  private static final int THREADS = 256;
  private static final String[] NAMES = Types.names("prod_backward_");

  private ProductLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(ProdBackward.class, new Gradient());
  }

  /** {@link ProdBackward}: kept axes outside of the reduced ones if they alternate too often. */
  private static final class Gradient implements Kernel<ProdBackward> {
    @Override
    public void launch(ProdBackward op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Layout wanted = out[0].layout();
      boolean[] reduced = ReducedAxes.flags(in[0].shape(), op.axes());
      ReduceShape shape = ReduceShape.of(wanted, reduced);
      try (Staging staging = new Staging(gpu)) {
        long g = staging.rowMajor(in[1]);
        if (shape.fits()) {
          launch(gpu, in[0], staging.ordered(in[0], wanted), g, out[0].address(), shape);
          return;
        }
        Layout kept = ReducedAxes.keptFirst(in[0].shape(), reduced);
        long x = staging.ordered(in[0], kept);
        long dx = staging.allocate(out[0].spec().bytes());
        launch(gpu, in[0], x, g, dx, ReduceShape.of(kept, reduced));
        new Copies(gpu, out[0].dtype().bytes()).add(dx, kept, out[0].address(), wanted).run();
      }
    }

    private static void launch(Gpu gpu, Tensor like, long x, long g, long dx, ReduceShape shape) {
      long n = shape.n();
      int across =
          shape.columns() && n <= THREADS
              ? 1 // neighbouring threads have neighbouring results
              : n > 512 ? THREADS : Blocks.power(Blocks.ceil(n, 4), 1, 32);
      int down = THREADS / across;
      gpu.kernel("products", NAMES[like.dtype().ordinal()])
          .grid(Blocks.ceil(shape.results(), down))
          .block(across, down)
          .pointer(x)
          .pointer(g)
          .pointer(dx)
          .longs(shape.words())
          .run();
    }
  }
}
