// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import io.sfumato.tensor.cpu.AttentionTiles.Rows;

/** {@link AttentionProducts} by {@link GemmTile}s. */
final class TileAttention implements AttentionProducts {
  private static final int QUERY_BLOCK = 56;

  private final AttentionProblem p;
  private final Matrix q;
  private final Matrix k;
  private final Matrix v;
  private final AttentionTiles tiles;
  private final AttentionLoops loops = Loops.leaf().attention();
  private final long keyBytes;
  private final boolean valuesInPlace;
  private final boolean slabs;

  TileAttention(AttentionProblem p, Matrix q, Matrix k, Matrix v) {
    this.p = p;
    this.q = q;
    this.k = k;
    this.v = v;
    tiles = new AttentionTiles(p.dim());
    keyBytes = tiles.transposedSize(p.keys()) * 4;
    valuesInPlace = tiles.isPacked(v.rowStride());
    slabs = tiles.slabsPay(p.keys());
  }

  @Override
  public int queryBlock() {
    return QUERY_BLOCK;
  }

  @Override
  public int scoreStride() {
    return tiles.scoreStride;
  }

  @Override
  public int outputStride() {
    return tiles.paddedDim;
  }

  @Override
  public long headBytes() {
    return keyBytes + (valuesInPlace ? 0 : tiles.rowsSize(p.keys()) * 4);
  }

  @Override
  public boolean packHead(int head, int from, int to, long packed) {
    long panels = packed + (long) from * p.dim() * 4;
    tiles.packTransposed(p.row(k, head, from), k.rowStride(), to - from, p.scale(), panels);
    if (!valuesInPlace) {
      long rows = packed + keyBytes + tiles.rowsSize(from) * 4;
      tiles.packRows(p.row(v, head, from), v.rowStride(), to - from, rows);
    }
    return true;
  }

  @Override
  public long blockBytes() {
    return slabs ? tiles.slabsSize(QUERY_BLOCK) * 4 : 0;
  }

  @Override
  public boolean packQueries(int head, int first, int rows, long work) {
    if (slabs) {
      tiles.packSlabs(p.row(q, head, first), q.rowStride(), rows, work);
    }
    return true;
  }

  @Override
  public void scores(int head, int first, int rows, int j, int n, long packed, long work, long s) {
    Rows queries = slabs ? tiles.slabs(work) : tiles.inPlace(p.row(q, head, first), q.rowStride());
    tiles.scores(rows, n, queries, 0, packed + (long) j * p.dim() * 4, s);
  }

  @Override
  public void probabilities(
      int first, int rows, int j, int n, long s, float[] shift, double[] sums, long work) {
    for (int r = 0; r < rows; r++) {
      long row = s + 4L * r * tiles.scoreStride;
      int seen = p.seen(first + r, j, n);
      if (seen < n) {
        Memory.zero(row + seen * 4L, (n - seen) * 4L);
      }
      sums[r] = seen == 0 ? 0 : loops.exponentials(row, seen, shift[r]);
    }
  }

  @Override
  public void outputs(
      int head, int rows, int j, int n, long s, long packed, long work, long o, boolean add) {
    long values = valuesInPlace ? p.row(v, head, j) : packed + keyBytes + tiles.rowsSize(j) * 4;
    tiles.product(add, rows, n, s, tiles.scoreStride, 1, values, o, tiles.paddedDim);
  }
}
