// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** Packing and block products that attention's two directions share. */
final class AttentionTiles {
  final GemmTile tile = Loops.tile();
  final int dim;

  /** Keys per panel of transposed keys. */
  final int panel;

  /** Head size rounded up to whole vectors. */
  final int paddedDim;

  /** Floats from one row of scores to the next. */
  final int scoreStride;

  AttentionTiles(int dim) {
    this.dim = dim;
    this.panel = Panels.fullWidth(tile);
    this.paddedDim = roundUp(dim);
    this.scoreStride = tile.pitch();
  }

  int roundUp(int n) {
    return Panels.width(tile, n);
  }

  /** Floats of {@link #packTransposed} for {@code n} rows. */
  long transposedSize(int n) {
    return (long) (n + panel - 1) / panel * panel * dim;
  }

  /** Floats of {@link #packRows} for {@code n} rows. */
  long rowsSize(int n) {
    return (long) n * paddedDim;
  }

  /** Rows of head {@code from} as panels [panel number][d][key in panel], zero-padded. */
  void packTransposed(long from, long rowStride, int rows, float scale, long to) {
    for (int r = 0; r < rows; r += panel) {
      int count = Math.min(panel, rows - r);
      long target = to + (long) r * dim * 4;
      if (count < panel) {
        Memory.zero(target, (long) panel * dim * 4);
      }
      Panels.transpose(
          tile, dim, count, scale, from + r * rowStride * 4, 1, rowStride, target, panel);
    }
  }

  /** Rows as [row][paddedDim], zero-padded. */
  void packRows(long from, long rowStride, int rows, long to) {
    tile.copyRows(rows, dim, from, rowStride, to, paddedDim);
    for (int r = 0; r < rows && paddedDim > dim; r++) {
      Memory.zero(to + ((long) r * paddedDim + dim) * 4, (paddedDim - dim) * 4L);
    }
  }

  /** Whether {@link #packRows} would change nothing. */
  boolean isPacked(long rowStride) {
    return rowStride == dim && paddedDim == dim;
  }

  /**
   * Rows [row][dim] as left operands, in place or as slabs.
   *
   * @param address address of the first row
   * @param slabStride floats from one slab, or as many rows, to the next
   * @param rowStride floats from one row to the next of its slab
   * @param colStride floats from one element to the next of its row
   */
  record Rows(long address, long slabStride, long rowStride, long colStride) {}

  /** Whether rows that meet {@code keys} keys are worth rearranging to slabs. */
  boolean slabsPay(int keys) {
    return keys >= tile.slabColumns();
  }

  /** Floats of {@link #packSlabs} for {@code n} rows. */
  long slabsSize(int n) {
    return (long) Panels.wholeTiles(tile, n) * dim;
  }

  /** Rows in place. */
  Rows inPlace(long from, long rowStride) {
    return new Rows(from, tile.maxRows() * rowStride, rowStride, 1);
  }

  /** Rearranges rows to slabs at {@code to}. */
  void packSlabs(long from, long rowStride, int rows, long to) {
    Panels.packSlabs(tile, rows, dim, from, rowStride, 1, to);
  }

  /** What {@link #packSlabs} wrote. */
  Rows slabs(long at) {
    int height = tile.maxRows();
    return new Rows(at, (long) height * dim, 1, height);
  }

  /**
   * {@code s[r, j] = Σ_d a[first + r, d] panels[d, j]} for the keys {@code [0, n)} of the panels.
   *
   * @param first the first row, a multiple of the tile's rows
   */
  void scores(int rows, int n, Rows a, int first, long panels, long s) {
    long from = a.address + first / tile.maxRows() * a.slabStride * 4;
    for (int j = 0; j < n; j += panel) {
      int columns = roundUp(Math.min(panel, n - j));
      Panels.multiply(
          tile,
          rows,
          columns,
          dim,
          from,
          a.slabStride,
          a.rowStride,
          a.colStride,
          panels + (long) j * dim * 4,
          panel,
          s + j * 4L,
          scoreStride,
          false);
    }
  }

  /** {@code c (+)= a b}, all of {@link #paddedDim} columns; rows of {@code b} are as long. */
  void product(
      boolean add,
      int rows,
      int k,
      long a,
      long strideA,
      long colStrideA,
      long b,
      long c,
      long strideC) {
    for (int d = 0; d < paddedDim; d += panel) {
      Panels.multiply(
          tile,
          rows,
          Math.min(panel, paddedDim - d),
          k,
          a,
          tile.maxRows() * strideA,
          strideA,
          colStrideA,
          b + d * 4L,
          paddedDim,
          c + d * 4L,
          strideC,
          add);
    }
  }
}
