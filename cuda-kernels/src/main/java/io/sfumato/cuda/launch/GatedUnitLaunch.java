// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.GatedUnit;
import io.sfumato.tensor.ops.GatedUnitBackward;
import org.jspecify.annotations.Nullable;

/** Gated units and their gradients. */
final class GatedUnitLaunch {
  private static final String FAMILY = "gatedunit";

  private GatedUnitLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(GatedUnit.class, new Forward()).add(GatedUnitBackward.class, new Backward());
  }

  private static @Nullable String refused(Tensor result) {
    return result.numel() >= 1L << 32 ? "needs fewer than 2^32 elements" : null;
  }

  /** The rows [rows, 2 d] of an input: where they begin and how far they are apart. */
  private record Rows(long address, long step) {
    static Rows of(Tensor x, Staging staging) {
      int n = x.dim(-1);
      Layout rows = x.layout().reshape(Shape.of(Math.toIntExact(x.numel() / n), n));
      return rows != null && rows.stride(1) == 1
          ? new Rows(x.address(), rows.stride(0))
          : new Rows(staging.rowMajor(x), n);
    }
  }

  /** Launches over vectors of [rows, d]; {@code other} is where dy lies, 0 in the forward. */
  private static void run(
      String[][] names, DType dtype, Gpu gpu, Rows x, long other, Tensor out, int d, int kind) {
    boolean forward = other == 0;
    long elements = forward ? out.numel() : out.numel() / 2;
    int vector = Walk.vector(dtype, dtype);
    boolean wide =
        ((x.address | other | out.address()) & 15) == 0 && d % vector == 0 && x.step % vector == 0;
    vector = wide ? vector : 1;
    long n = elements / vector;
    long perRow = d / vector;
    Launch launch =
        gpu.kernel(FAMILY, names[wide ? 0 : 1][dtype.ordinal()])
            .grid((n + 2 * Walk.THREADS - 1) / (2 * Walk.THREADS))
            .block(Walk.THREADS)
            .pointer(x.address);
    (forward ? launch : launch.pointer(other))
        .pointer(out)
        .i64(n)
        .i64(perRow)
        .i64(Walk.magic(perRow))
        .i64(x.step)
        .i32(kind)
        .run();
  }

  /** {@link GatedUnit}. */
  private static final class Forward implements Kernel<GatedUnit> {
    private static final String[][] NAMES = {
      Types.names("gated_unit_"), Types.names("gated_unit_narrow_")
    };

    @Override
    public @Nullable String refuse(GatedUnit op, Tensor[] in, Tensor[] out) {
      return refused(in[0]);
    }

    @Override
    public void launch(GatedUnit op, Tensor[] in, Tensor[] out) {
      Tensor y = out[0];
      if (y.numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(y);
      try (Staging staging = new Staging(gpu)) {
        Rows x = Rows.of(in[0], staging);
        run(NAMES, y.dtype(), gpu, x, 0, y, y.dim(-1), op.kind().ordinal());
      }
    }
  }

  /** {@link GatedUnitBackward}. */
  private static final class Backward implements Kernel<GatedUnitBackward> {
    private static final String[][] NAMES = {
      Types.names("gated_unit_backward_"), Types.names("gated_unit_backward_narrow_")
    };

    @Override
    public @Nullable String refuse(GatedUnitBackward op, Tensor[] in, Tensor[] out) {
      return refused(in[0]);
    }

    @Override
    public void launch(GatedUnitBackward op, Tensor[] in, Tensor[] out) {
      Tensor dx = out[0];
      if (dx.numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(dx);
      try (Staging staging = new Staging(gpu)) {
        Rows x = Rows.of(in[0], staging);
        long dy = staging.rowMajor(in[1]);
        run(NAMES, dx.dtype(), gpu, x, dy, dx, dx.dim(-1) / 2, op.kind().ordinal());
      }
    }
  }
}
