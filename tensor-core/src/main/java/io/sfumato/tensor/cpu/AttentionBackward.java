// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import io.sfumato.tensor.cpu.AttentionTiles.Rows;
import org.jspecify.annotations.Nullable;

/**
 * One backward call of {@link AttentionKernel}. With {@code P = e^(S - lse)}, {@code δ = Σ_d dout
 * out}: {@code dv = Pᵀ dout}, {@code dP = dout vᵀ}, {@code dS = scale P (dP - δ)}, {@code dq = dS
 * k}, {@code dk = dSᵀ q}, in blocks of keys (outer) by queries (inner).
 *
 * <p>A piece of work is one head, or, when there are few heads, one of several fixed parts of its
 * keys with a dq of its own; these are then added in order.
 */
final class AttentionBackward {
  /** About so many queries at a time. */
  private static final int QUERIES = 96;

  private static final int FEW_HEADS = 16;
  private static final int MAX_PARTS = 8;

  private final AttentionProblem p;
  private final Matrix q;
  private final Matrix k;
  private final Matrix v;
  private final Matrix out;
  private final long lse;
  private final Matrix dout;
  private final @Nullable Matrix dq;
  private final @Nullable Matrix dk;
  private final @Nullable Matrix dv;
  private final int queryBlock;
  private final AttentionTiles tiles;
  private final AttentionLoops loops;
  private final ReduceLoops reduce = Loops.leaf().reduce();
  private final int parts;
  private final int partKeys;
  private final long queryRows;

  AttentionBackward(
      AttentionProblem p,
      Matrix q,
      Matrix k,
      Matrix v,
      Matrix out,
      long lse,
      Matrix dout,
      @Nullable Matrix dq,
      @Nullable Matrix dk,
      @Nullable Matrix dv) {
    this.p = p;
    this.q = q;
    this.k = k;
    this.v = v;
    this.out = out;
    this.lse = lse;
    this.dout = dout;
    this.dq = dq;
    this.dk = dk;
    this.dv = dv;
    this.tiles = new AttentionTiles(p.dim());
    this.loops = tiles.loops;
    this.queryBlock = Panels.wholeTiles(tiles.tile, QUERIES);
    int blocks = Math.max(1, (p.keys() + AttentionTiles.KEY_BLOCK - 1) / AttentionTiles.KEY_BLOCK);
    int most = p.batch() * p.heads() >= FEW_HEADS ? 1 : Math.min(MAX_PARTS, blocks);
    int perPart = (blocks + most - 1) / most;
    this.partKeys = perPart * AttentionTiles.KEY_BLOCK;
    this.parts = (blocks + perPart - 1) / perPart;
    this.queryRows = tiles.rowsSize(p.queries()) * 4;
  }

  void run() {
    int heads = p.batch() * p.heads();
    if (parts == 1) {
      Parallel.forRange(
          heads,
          1,
          (begin, end, worker) -> {
            long sum =
                isPacked(dq) ? Scratch.get(Scratch.Slot.ATTENTION_SHARED, queryRows + 64) : 0;
            for (int h = begin; h < end; h++) {
              Sum rows = sum(dq, h, 0, sum);
              part(h, 0, rows);
              store(rows, p.queries(), dq, h, 0);
            }
          });
      return;
    }
    long sums = Scratch.get(Scratch.Slot.ATTENTION_SHARED, heads * parts * queryRows + 64);
    Parallel.forRange(
        heads * parts,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            part(i / parts, i % parts, new Sum(sums + i * queryRows, tiles.paddedDim, false));
          }
        });
    int floats = Math.toIntExact(queryRows / 4);
    Parallel.forRange(
        heads,
        1,
        (begin, end, worker) -> {
          for (int h = begin; h < end; h++) {
            long sum = sums + (long) h * parts * queryRows;
            for (int i = 1; i < parts; i++) {
              tiles.tile.addRows(1, floats, sum + i * queryRows, 0, sum, 0);
            }
            store(new Sum(sum, tiles.paddedDim, false), p.queries(), dq, h, 0);
          }
        });
  }

  /**
   * Rows of a gradient while they are summed up.
   *
   * @param address address of the first row
   * @param stride floats from one row to the next
   * @param inPlace whether they are the result itself
   */
  private record Sum(long address, long stride, boolean inPlace) {
    long row(long i) {
      return address + i * stride * 4;
    }
  }

  /** Where to sum up rows of a result: in it if they are whole vectors, else at {@code packed}. */
  private Sum sum(@Nullable Matrix to, int head, int firstRow, long packed) {
    return to == null || isPacked(to)
        ? new Sum(packed, tiles.paddedDim, false)
        : new Sum(address(to, head, firstRow), to.rowStride(), true);
  }

  /** Whether rows of a result are summed up elsewhere, padded to whole vectors. */
  private boolean isPacked(@Nullable Matrix to) {
    return to != null && tiles.paddedDim != p.dim();
  }

  private void store(Sum from, int rows, @Nullable Matrix to, int head, int firstRow) {
    if (to != null && !from.inPlace) {
      long target = address(to, head, firstRow);
      tiles.tile.copyRows(rows, p.dim(), from.address, from.stride, target, to.rowStride());
    }
  }

  private void zero(Sum sum, int rows) {
    for (int r = 0; r < rows; r++) {
      Memory.zero(sum.row(r), tiles.paddedDim * 4L);
    }
  }

  private long address(Matrix m, int head, int row) {
    return m.head(head / p.heads(), head % p.heads()) + row * m.rowStride() * 4;
  }

  /** Native memory of one piece of work. */
  private final class Work {
    final long keysT;
    final long valuesT;
    final long keys;
    final long queries;
    final long gradients;
    final Rows leftQueries;
    final Rows leftGradients;
    final long delta;
    final long s;
    final long dp;
    final long dkSum;
    final long dvSum;

    Work(int head, int first, int count) {
      long transposed = tiles.transposedSize(count) * 4;
      long keyRows = tiles.rowsSize(count) * 4;
      long scores = (long) queryBlock * tiles.scoreStride * 4;
      long block = tiles.rowsSize(AttentionTiles.KEY_BLOCK) * 4;
      long deltas = (p.queries() * 4L + 63) & -64;
      boolean slabs = tiles.slabsPay(count);
      long slabBytes = slabs ? (tiles.slabsSize(p.queries()) * 4 + 63) & -64 : 0;
      long bytes = 2 * (transposed + queryRows + scores + block + slabBytes) + keyRows + deltas;
      long at = Scratch.get(Scratch.Slot.ATTENTION_BLOCK, bytes + 64);
      s = at;
      dp = s + scores;
      dkSum = dp + scores;
      dvSum = dkSum + block;
      delta = dvSum + block;
      keysT = delta + deltas;
      valuesT = keysT + transposed;
      long keysPacked = valuesT + transposed;
      long queriesPacked = keysPacked + keyRows;
      long gradientsPacked = queriesPacked + queryRows;
      int b = head / p.heads();
      int h = head % p.heads();
      long k0 = k.head(b, h) + first * k.rowStride() * 4;
      tiles.packTransposed(k0, k.rowStride(), count, p.scale(), keysT);
      long v0 = v.head(b, h) + first * v.rowStride() * 4;
      tiles.packTransposed(v0, v.rowStride(), count, 1f, valuesT);
      keys = packed(k0, k.rowStride(), count, keysPacked);
      queries = packed(q.head(b, h), q.rowStride(), p.queries(), queriesPacked);
      gradients = packed(dout.head(b, h), dout.rowStride(), p.queries(), gradientsPacked);
      long slab = gradientsPacked + queryRows;
      leftQueries = left(slabs, queries, slab);
      leftGradients = left(slabs, gradients, slab + slabBytes);
      long o = out.head(b, h);
      for (int i = 0; i < p.queries(); i++) {
        long row = gradients + tiles.rowsSize(i) * 4;
        double d = reduce.dot(row, o + i * out.rowStride() * 4, p.dim());
        Memory.putFloat(delta + i * 4L, (float) d);
      }
    }

    private Rows left(boolean slabs, long rows, long to) {
      return slabs
          ? tiles.packSlabs(rows, tiles.paddedDim, p.queries(), to)
          : tiles.inPlace(rows, tiles.paddedDim);
    }

    private long packed(long from, long rowStride, int rows, long to) {
      if (tiles.isPacked(rowStride)) {
        return from;
      }
      tiles.packRows(from, rowStride, rows, to);
      return to;
    }
  }

  /** All queries against one part of the keys of a head. */
  private void part(int head, int part, Sum dqSum) {
    int first = part * partKeys;
    int count = Math.max(0, Math.min(partKeys, p.keys() - first));
    if (dq != null) { // the first block of keys stores what it sees
      zero(dqSum, count == 0 ? p.queries() : Math.min(p.queries(), firstBlock(first)));
    }
    Work w = new Work(head, first, count);
    for (int j = 0; j < count; j += AttentionTiles.KEY_BLOCK) {
      keyBlock(head, w, first, j, Math.min(AttentionTiles.KEY_BLOCK, count - j), dqSum);
    }
  }

  /** The first query of the first block that sees a key. */
  private int firstBlock(int key) {
    return p.causal() ? key / queryBlock * queryBlock : 0;
  }

  /** Keys {@code [first + j, first + j + n)} of a head against all queries that see them. */
  private void keyBlock(int head, Work w, int first, int j, int n, Sum dqSum) {
    int stride = tiles.scoreStride;
    long keyRow = tiles.rowsSize(j) * 4;
    long panel = (long) j * p.dim() * 4;
    int start = firstBlock(first + j);
    Sum dkSum = sum(dk, head, first + j, w.dkSum);
    Sum dvSum = sum(dv, head, first + j, w.dvSum);
    boolean add = false;
    for (int i0 = start; i0 < p.queries(); i0 += queryBlock) {
      int rows = Math.min(queryBlock, p.queries() - i0);
      long row = tiles.rowsSize(i0) * 4;
      long queries = w.queries + row;
      long gradients = w.gradients + row;
      tiles.scores(rows, n, w.leftQueries, i0, w.keysT + panel, w.s);
      tiles.scores(rows, n, w.leftGradients, i0, w.valuesT + panel, w.dp);
      for (int r = 0; r < rows; r++) {
        scoreGradient(head, w, i0 + r, (long) r * stride * 4, first + j, n);
      }
      if (dv != null) {
        tiles.product(add, n, rows, w.s, 1, stride, gradients, dvSum.address, dvSum.stride);
      }
      if (dk != null) {
        tiles.product(add, n, rows, w.dp, 1, stride, queries, dkSum.address, dkSum.stride);
      }
      if (dq != null) {
        long to = dqSum.row(i0);
        tiles.product(j > 0, rows, n, w.dp, stride, 1, w.keys + keyRow, to, dqSum.stride);
      }
      add = true;
    }
    if (!add) {
      zero(dkSum, n);
      zero(dvSum, n);
    }
    store(dkSum, n, dk, head, first + j);
    store(dvSum, n, dv, head, first + j);
  }

  /** Turns a row of scores into probabilities and of dP into dS. */
  private void scoreGradient(int head, Work w, int i, long offset, int key, int n) {
    long s = w.s + offset;
    long dp = w.dp + offset;
    int seen = p.causal() ? Math.clamp(i + 1L - key, 0, n) : n;
    if (seen < n) {
      Memory.zero(s + seen * 4L, (n - seen) * 4L);
      Memory.zero(dp + seen * 4L, (n - seen) * 4L);
    }
    if (seen == 0) {
      return;
    }
    if (p.mask() != null) {
      p.mask().apply(loops, s, head / p.heads(), head % p.heads(), i, key, seen);
    }
    float log = Memory.getFloat(lse + ((long) head * p.queries() + i) * 4);
    if (log == Float.NEGATIVE_INFINITY) {
      log = Float.POSITIVE_INFINITY;
    }
    loops.gradient(s, dp, seen, log, Memory.getFloat(w.delta + i * 4L), p.scale());
  }
}
