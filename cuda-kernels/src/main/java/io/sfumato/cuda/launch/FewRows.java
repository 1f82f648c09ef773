// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;

/** Products of f32 with few rows by the kernels of gemm_rows.cu, which read B once for 8 rows. */
final class FewRows implements Gemms {
  private static final int MOST_ROWS = 32;
  private static final int ROWS = 8; // of a block
  private static final int COLUMNS = 4; // of a warp, where there are many
  private static final int WARPS = 8;

  @Override
  public boolean takes(Product p) {
    return p.dtype() == DType.F32
        && p.m() <= MOST_ROWS
        && p.n() > 1
        && p.k() > 0
        && p.k() % 4 == 0
        && p.batches() == 1
        && p.more() == null
        && rows(p.a(), p.m())
        && (rows(p.b().transposed(), p.n()) || (p.n() % 4 == 0 && rows(p.b(), p.k())));
  }

  /** Whether contiguous rows begin at multiples of 16 bytes. */
  private static boolean rows(Matrices x, int count) {
    return x.column() == 1 && x.address() % 16 == 0 && (count == 1 || x.row() % 4 == 0);
  }

  @Override
  public boolean run(Gpu gpu, Product p) {
    if (!takes(p)) {
      return false;
    }
    boolean byK = rows(p.b().transposed(), p.n());
    long groups = Blocks.ceil(p.m(), ROWS);
    boolean many = p.n() * groups >= 4L * COLUMNS * WARPS * gpu.multiprocessors();
    int columns = byK ? WARPS * (many ? COLUMNS : 1) : 4 * WARPS;
    String name = byK ? "kk_" + (many ? COLUMNS : 1) : "kr";
    gpu.kernel("gemm_rows", "gemm_rows_" + name + "_f32")
        .grid(Blocks.ceil(p.n(), columns), groups)
        .block(WARPS * 32)
        .pointer(p.a().address())
        .pointer(p.b().address())
        .pointer(p.c().address())
        .pointer(p.bias())
        .longs(p.m(), p.n(), p.k(), p.a().row(), byK ? p.b().column() : p.b().row(), p.c().row())
        .f32(p.alpha())
        .f32(p.beta())
        .run();
    return true;
  }
}
