// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.driver.TensorMap;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;

/**
 * The kernels of low_rank_hopper.cuh: linear layers with a change of a rank up to 16, and the
 * gradients of their inputs, in one pass.
 *
 * @param p x [m, k] times Wᵀ [k, n] with its bias, without factors or batches
 * @param a the first factor, [r, k]
 * @param b the second factor, [n, r]
 * @param scale the factor of the change
 */
record LowRankHopper(Product p, Tensor a, Tensor b, double scale) {
  private static final OwnGemms.Tile TILE = OwnGemms.Tile.BULK_256X160;
  private static final int MOST_RANKS = 16;
  private static final int STAGES = 3;
  private static final int BOX = TensorMap.BOX;

  /** Whether the kernels take it, and leave few multiprocessors idle. */
  boolean pays(Gpu gpu) {
    int r = a.dim(0);
    return 0 < r
        && r <= MOST_RANKS
        && p.n() % 8 == 0
        && isRows(p.a())
        && isRows(p.c())
        && p.bias() % 4 == 0
        && (isRows(p.b().transposed()) || isRows(p.b()))
        && OwnGemms.keepsUp(gpu, p, TILE);
  }

  /** Whether rows begin at multiples of 16 bytes. */
  private static boolean isRows(Matrices x) {
    return x.column() == 1 && x.row() % 8 == 0 && x.row() > 0 && x.address() % 16 == 0;
  }

  /** Launches it, where {@link #pays} says so. */
  void run(Gpu gpu, Staging staging) {
    boolean byK = isRows(p.b().transposed());
    int lines = byK ? TILE.n() : (TILE.n() + BOX - 1) / BOX * BOX;
    int more = byK ? MOST_RANKS : BOX;
    int stage = (TILE.m() + lines + more) * OwnGemms.DEEP_HOPPER * 2;
    Launch launch =
        gpu.kernel(
                "low_rank_hopper",
                "low_rank_hopper_" + (byK ? "k_" : "r_") + Types.suffix(p.dtype()))
            .grid(Math.min(TILE.tiles(p), gpu.multiprocessors()))
            .block(TILE.threads())
            .shared(STAGES * stage + OwnGemms.STAGED + OwnGemms.BARRIERS);
    int r = a.dim(0);
    launch.longs(map(p.a(), p.m(), p.k(), TILE.m()));
    if (byK) {
      launch.longs(map(p.b().transposed(), p.n(), p.k(), TILE.n()));
      launch.longs(map(lines(gpu, staging, a), r, p.k(), MOST_RANKS));
      launch.longs(map(lines(gpu, staging, b), p.n(), r, TILE.n()));
    } else {
      launch.longs(map(p.b(), p.k(), p.n(), BOX));
      launch.longs(map(lines(gpu, staging, a.transpose(0, 1)), p.k(), r, BOX));
      launch.longs(map(lines(gpu, staging, b.transpose(0, 1)), r, p.n(), BOX));
    }
    launch.pointer(p.c().address()).pointer(p.bias()).longs(OwnGemms.shape(p)).f32(scale).run();
  }

  private long[] map(Matrices x, int rows, int columns, int lines) {
    return TensorMap.of(p.dtype(), x.address(), columns, rows, x.row(), lines);
  }

  /** A factor by rows that begin at multiples of 16 bytes: itself, or a copy. */
  private static Matrices lines(Gpu gpu, Staging staging, Tensor t) {
    Layout layout = t.layout();
    Matrices own = Matrices.of(t.address(), layout.stride(0), layout.stride(1));
    if (isRows(own)) {
      return own;
    }
    DType dtype = t.dtype();
    int pitch = (t.dim(1) + 7) / 8 * 8;
    long copy = staging.allocate((long) t.dim(0) * pitch * dtype.bytes());
    CopyLaunch.copy(gpu, t, copy, Layout.of(t.shape(), new long[] {pitch, 1}, 0));
    return Matrices.rowMajor(copy, pitch);
  }
}
