// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import io.sfumato.tensor.cpu.AttentionTiles.Rows;
import org.jspecify.annotations.Nullable;

/** {@link AttentionPiece} by {@link GemmTile}s. */
final class TileAttentionPiece extends AttentionPiece {
  /** About so many queries at a time. */
  private static final int QUERIES = 96;

  private final AttentionTiles tiles;
  private final long keysT;
  private final long valuesT;
  private final long keys;
  private final long queries;
  private final long gradients;
  private final Rows leftQueries;
  private final Rows leftGradients;
  private final long dkPacked;
  private final long dvPacked;
  private Sum dkSum;
  private Sum dvSum;

  /** Rearranges the operands for the keys {@code [first, first + count)} of a head. */
  TileAttentionPiece(Operands x, int head, int first, int count) {
    this(new AttentionTiles(x.p().dim()), x, head, first, count);
  }

  private TileAttentionPiece(AttentionTiles tiles, Operands x, int head, int first, int count) {
    super(x, head, first, Panels.wholeTiles(tiles.tile, QUERIES), tiles.scoreStride);
    this.tiles = tiles;
    long transposed = tiles.transposedSize(count) * 4;
    long keyRows = tiles.rowsSize(count) * 4;
    long queryRows = tiles.rowsSize(p.queries()) * 4;
    long block = tiles.rowsSize(KEY_BLOCK) * 4;
    boolean slabs = tiles.slabsPay(count);
    long slabBytes = slabs ? (tiles.slabsSize(p.queries()) * 4 + 63) & -64 : 0;
    long bytes = scoreBytes() + 2 * (transposed + queryRows + block + slabBytes) + keyRows;
    long work = Scratch.get(Scratch.Slot.ATTENTION_BLOCK, bytes + 64);
    place(work);
    dkPacked = work + scoreBytes();
    dvPacked = dkPacked + block;
    keysT = dvPacked + block;
    valuesT = keysT + transposed;
    long keysPacked = valuesT + transposed;
    long queriesPacked = keysPacked + keyRows;
    long gradientsPacked = queriesPacked + queryRows;
    tiles.packTransposed(p.row(x.k(), head, first), x.k().rowStride(), count, p.scale(), keysT);
    tiles.packTransposed(p.row(x.v(), head, first), x.v().rowStride(), count, 1f, valuesT);
    keys = packed(x.k(), first, count, keysPacked);
    queries = packed(x.q(), 0, p.queries(), queriesPacked);
    gradients = packed(x.dout(), 0, p.queries(), gradientsPacked);
    long slab = gradientsPacked + queryRows;
    leftQueries = left(slabs, queries, slab);
    leftGradients = left(slabs, gradients, slab + slabBytes);
    dkSum = new Sum(dkPacked, tiles.paddedDim);
    dvSum = new Sum(dvPacked, tiles.paddedDim);
  }

  private long packed(Matrix m, int first, int rows, long to) {
    long from = p.row(m, head, first);
    if (tiles.isPacked(m.rowStride())) {
      return from;
    }
    tiles.packRows(from, m.rowStride(), rows, to);
    return to;
  }

  private Rows left(boolean slabs, long rows, long to) {
    if (!slabs) {
      return tiles.inPlace(rows, tiles.paddedDim);
    }
    tiles.packSlabs(rows, tiles.paddedDim, p.queries(), to);
    return tiles.slabs(to);
  }

  @Override
  void begin(int j, int n) {
    super.begin(j, n);
    dkSum = sum(x.dk(), dkPacked);
    dvSum = sum(x.dv(), dvPacked);
  }

  /** Where to sum up rows of a result: in it if they are whole vectors, else at {@code packed}. */
  private Sum sum(@Nullable Matrix to, long packed) {
    return to == null || tiles.paddedDim != p.dim()
        ? new Sum(packed, tiles.paddedDim)
        : new Sum(keyRow(to), to.rowStride());
  }

  @Override
  void products(int first, int rows) {
    long panel = (long) j * p.dim() * 4;
    tiles.scores(rows, n, leftQueries, first, keysT + panel, scores());
    tiles.scores(rows, n, leftGradients, first, valuesT + panel, scoreGradients());
  }

  @Override
  void gradients(int first, int rows, boolean addKeys, boolean addQueries, Sum dq) {
    int stride = scoreStride;
    long s = scores();
    long dp = scoreGradients();
    long row = tiles.rowsSize(first) * 4;
    if (x.dv() != null) {
      long left = gradients + row;
      tiles.product(addKeys, n, rows, s, 1, stride, left, dvSum.address(), dvSum.stride());
    }
    if (x.dk() != null) {
      long left = queries + row;
      tiles.product(addKeys, n, rows, dp, 1, stride, left, dkSum.address(), dkSum.stride());
    }
    if (x.dq() != null) {
      long right = keys + tiles.rowsSize(j) * 4;
      tiles.product(addQueries, rows, n, dp, stride, 1, right, dq.row(first), dq.stride());
    }
  }

  @Override
  void end(boolean seen) {
    if (!seen) {
      dkSum.clear(n, tiles.paddedDim);
      dvSum.clear(n, tiles.paddedDim);
    }
    store(dkSum, dkPacked, x.dk());
    store(dvSum, dvPacked, x.dv());
  }

  private void store(Sum from, long packed, @Nullable Matrix to) {
    if (to != null && from.address() == packed) {
      tiles.tile.copyRows(n, p.dim(), packed, from.stride(), keyRow(to), to.rowStride());
    }
  }
}
