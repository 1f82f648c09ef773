// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import org.jspecify.annotations.Nullable;

/** How the operands of a {@link GemmBlock} are rearranged, for the loops that multiply them. */
interface GemmFormat {
  /** Columns of a whole panel. */
  int width();

  /** Rows of a slab. */
  int height();

  /** Rows of a block, at most. */
  int maxRows();

  /** Elements of the sums that are formed at a time. */
  int kBlock(int k);

  /** Floats of the panels of a round, at most. */
  long maxPacked();

  /**
   * Whether each worker does all rows of some columns of one product: then panels need not go from
   * one core's cache to another's, and workers wait for each other only once; but all rearrange A.
   */
  boolean isApart(int m, int n, int threads);

  /** Rows {@code first} to {@code first + k} of a term's B with what they meet in A. */
  GemmBlock.Part part(int batch, int m, int n, Term term, int first, int k, Matrix c);

  /** Tiles, or a unit if there is one to multiply on. */
  static GemmFormat of(GemmTile tile, @Nullable MatrixUnit unit) {
    return unit == null ? new Tiles(tile) : new Split(tile, unit);
  }

  /**
   * Floats as they are.
   *
   * @param tile the tiles that multiply them
   */
  record Tiles(GemmTile tile) implements GemmFormat {
    @Override
    public int width() {
      return Panels.fullWidth(tile);
    }

    @Override
    public int height() {
      return tile.maxRows();
    }

    @Override
    public int maxRows() {
      return Gemm.MAX_ROW_BLOCK;
    }

    @Override
    public int kBlock(int k) {
      return Gemm.kBlock(k);
    }

    @Override
    public long maxPacked() {
      return Gemm.MAX_PACKED;
    }

    @Override
    public boolean isApart(int m, int n, int threads) {
      return false;
    }

    @Override
    public GemmBlock.Part part(int batch, int m, int n, Term term, int first, int k, Matrix c) {
      return new PackedPart(tile, batch, m, n, term, first, k, c);
    }
  }

  /**
   * Floats in parts.
   *
   * @param tile for what the unit cannot do
   * @param unit the unit
   */
  record Split(GemmTile tile, MatrixUnit unit) implements GemmFormat {
    private static final int APART_ROWS = 512;
    private static final int APART_COLUMNS = 128;

    @Override
    public int width() {
      return SplitOperands.SIDE;
    }

    @Override
    public int height() {
      return SplitOperands.SIDE;
    }

    @Override
    public int maxRows() {
      return SplitOperands.ROW_BLOCK;
    }

    @Override
    public int kBlock(int k) {
      return SplitOperands.K_BLOCK;
    }

    @Override
    public long maxPacked() {
      return 2 * Gemm.MAX_PACKED;
    }

    @Override
    public boolean isApart(int m, int n, int threads) {
      // a panel that comes from another core costs as much as a slab that is split once more
      return m <= Math.max(n, APART_ROWS) && n >= APART_COLUMNS * threads;
    }

    @Override
    public GemmBlock.Part part(int batch, int m, int n, Term term, int first, int k, Matrix c) {
      return new SplitPart(tile, unit, batch, n, term, first, k, c);
    }
  }
}
