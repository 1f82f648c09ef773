// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** Packing and block products that attention's two directions share. */
final class AttentionTiles {
  /** Keys per block of scores; a multiple of every panel width. */
  static final int KEY_BLOCK = 256;

  final GemmTile tile = Loops.tile();
  final AttentionLoops loops = Loops.leaf().attention();
  final int dim;

  /** Keys per panel of transposed keys. */
  final int panel;

  /** Head size rounded up to whole vectors. */
  final int paddedDim;

  /**
   * Floats from one row of scores to the next; odd in vectors, so that columns spread in caches.
   */
  final int scoreStride;

  AttentionTiles(int dim) {
    this.dim = dim;
    this.panel = tile.maxVectors() * tile.lanes();
    this.paddedDim = roundUp(dim);
    this.scoreStride = KEY_BLOCK + tile.lanes();
  }

  int roundUp(int n) {
    return (n + tile.lanes() - 1) / tile.lanes() * tile.lanes();
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
      Panels.transpose(dim, count, scale, from + r * rowStride * 4, 1, rowStride, target, panel);
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

  /** {@code s[r, j] = Σ_d a[r, d] panels[d, j]} for the keys {@code [0, n)} of the panels. */
  void scores(int rows, int n, long a, long strideA, long panels, long s) {
    for (int j = 0; j < n; j += panel) {
      int vectors = roundUp(Math.min(panel, n - j)) / tile.lanes();
      long b = panels + (long) j * dim * 4;
      product(false, rows, vectors, dim, a, strideA, 1, b, panel, s + j * 4L, scoreStride);
    }
  }

  /** {@code c (+)= a b} with {@code c} and {@code b} rows of {@link #paddedDim} floats. */
  void product(
      boolean add, int rows, int k, long a, long strideA, long colStrideA, long b, long c) {
    int vectors = paddedDim / tile.lanes();
    for (int v = 0; v < vectors; v += tile.maxVectors()) {
      int count = Math.min(tile.maxVectors(), vectors - v);
      long at = (long) v * tile.lanes() * 4;
      product(add, rows, count, k, a, strideA, colStrideA, b + at, paddedDim, c + at, paddedDim);
    }
  }

  private void product(
      boolean add,
      int rows,
      int vectors,
      int k,
      long a,
      long strideA,
      long colStrideA,
      long b,
      long ldb,
      long c,
      long ldc) {
    int most = tile.maxRows();
    for (int r = 0; r < rows; ) {
      int left = rows - r;
      int count = left >= most ? most : left >= 4 ? 4 : left >= 2 ? 2 : 1;
      long from = a + r * strideA * 4;
      long to = c + r * ldc * 4;
      if (add) {
        tile.accumulate(count, vectors, k, from, strideA, colStrideA, b, ldb, to, ldc);
      } else {
        tile.store(count, vectors, k, from, strideA, colStrideA, b, ldb, to, ldc);
      }
      r += count;
    }
  }
}
