// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.AttentionPiece.Operands;
import io.sfumato.tensor.cpu.AttentionPiece.Sum;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
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
  private static final int FEW_HEADS = 16;
  private static final int MAX_PARTS = 8;

  private final AttentionProblem p;
  private final Operands x;
  private final Matrix out;
  private final long lse;
  private final Matrix dout;
  private final @Nullable Matrix dq;
  private final GemmTile tile = Loops.tile();
  private final @Nullable MatrixUnit unit;
  private final boolean half;
  private final AttentionLoops loops = Loops.leaf().attention();
  private final ReduceLoops reduce = Loops.leaf().reduce();
  private final int parts;
  private final int partKeys;

  /** Head size rounded up to what the products write. */
  private final int width;

  private final long queryRows;

  AttentionBackward(Operands x, Matrix out, long lse) {
    this.x = x;
    this.out = out;
    this.lse = lse;
    p = x.p();
    dout = x.dout();
    dq = x.dq();
    half = out.type() == DType.BF16;
    unit = half || SplitAttention.pays(p) ? tile.unit() : null;
    int side = unit == null ? tile.lanes() : Math.max(tile.lanes(), MatrixUnit.SIDE);
    width = (p.dim() + side - 1) / side * side;
    int keys = AttentionPiece.KEY_BLOCK;
    int blocks = Math.max(1, (p.keys() + keys - 1) / keys);
    int most = p.batch() * p.heads() >= FEW_HEADS ? 1 : Math.min(MAX_PARTS, blocks);
    int perPart = (blocks + most - 1) / most;
    partKeys = perPart * keys;
    parts = (blocks + perPart - 1) / perPart;
    queryRows = 4L * p.queries() * width;
  }

  void run() {
    int heads = p.batch() * p.heads();
    if (parts == 1) {
      Parallel.forRange(
          heads,
          1,
          (begin, end, worker) -> {
            for (int h = begin; h < end; h++) {
              if (dq == null || (width == p.dim() && !half)) {
                part(h, 0, dq == null ? new Sum(0, 0) : rows(dq, h));
              } else {
                long sum = Scratch.get(Scratch.Slot.ATTENTION_SHARED, queryRows + 64);
                part(h, 0, new Sum(sum, width));
                store(sum, dq, h);
              }
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
            part(i / parts, i % parts, new Sum(sums + i * queryRows, width));
          }
        });
    if (dq == null) {
      return;
    }
    Matrix to = dq;
    int floats = Math.toIntExact(queryRows / 4);
    Parallel.forRange(
        heads,
        1,
        (begin, end, worker) -> {
          for (int h = begin; h < end; h++) {
            long sum = sums + (long) h * parts * queryRows;
            for (int i = 1; i < parts; i++) {
              tile.addRows(1, floats, sum + i * queryRows, 0, sum, 0);
            }
            store(sum, to, h);
          }
        });
  }

  private Sum rows(Matrix m, int head) {
    return new Sum(p.row(m, head, 0), m.rowStride());
  }

  private void store(long sum, Matrix to, int head) {
    if (!half) {
      tile.copyRows(p.queries(), p.dim(), sum, width, p.row(to, head, 0), to.rowStride());
      return;
    }
    long rows = p.row(to, head, 0);
    Loops.leaf()
        .casts()
        .narrowRows(to.type(), p.queries(), p.dim(), sum, 4L * width, rows, to.rowBytes());
  }

  /** All queries against one part of the keys of a head. */
  private void part(int head, int part, Sum dqSum) {
    int first = part * partKeys;
    int count = Math.max(0, Math.min(partKeys, p.keys() - first));
    AttentionPiece piece = piece(head, first, count);
    if (dq != null) { // the first block of keys stores what it sees
      int unseen = count == 0 ? p.queries() : Math.min(p.queries(), firstBlock(piece, first));
      dqSum.clear(unseen, width);
    }
    float[] delta = deltas(head);
    for (int j = 0; j < count; j += AttentionPiece.KEY_BLOCK) {
      int n = Math.min(AttentionPiece.KEY_BLOCK, count - j);
      keyBlock(head, piece, delta, first, j, n, dqSum);
    }
  }

  /** δ of all queries of a head. */
  private float[] deltas(int head) {
    float[] delta = new float[p.queries()];
    long rows = half ? Scratch.get(Scratch.Slot.ROW, 8L * p.dim()) : 0;
    CastLoops casts = Loops.leaf().casts();
    for (int i = 0; i < delta.length; i++) {
      long x = p.row(dout, head, i);
      long y = p.row(out, head, i);
      if (half) {
        casts.widen(dout.type(), x, rows, p.dim());
        casts.widen(out.type(), y, rows + 4L * p.dim(), p.dim());
        x = rows;
        y = rows + 4L * p.dim();
      }
      delta[i] = (float) reduce.dot(x, y, p.dim());
    }
    return delta;
  }

  /** On the matrix unit, if there is one and all values can be split. */
  private AttentionPiece piece(int head, int first, int count) {
    if (unit != null && half) {
      return new HalfAttentionPiece(unit, x, head, first, count);
    }
    if (unit != null) {
      SplitAttentionPiece split = new SplitAttentionPiece(unit, x, head, first, count);
      if (split.isFit()) {
        return split;
      }
    }
    return new TileAttentionPiece(x, head, first, count);
  }

  /** The first query of the first block that sees a key. */
  private int firstBlock(AttentionPiece piece, int key) {
    return p.causal() ? key / piece.queryBlock * piece.queryBlock : 0;
  }

  /** Keys {@code [first + j, first + j + n)} of a head against all queries that see them. */
  private void keyBlock(
      int head, AttentionPiece piece, float[] delta, int first, int j, int n, Sum dqSum) {
    int most = piece.queryBlock;
    piece.begin(j, n);
    boolean seen = false;
    for (int i0 = firstBlock(piece, first + j); i0 < p.queries(); i0 += most) {
      int rows = Math.min(most, p.queries() - i0);
      piece.products(i0, rows);
      scoreGradients(head, piece, delta, i0, rows, first + j, n);
      piece.gradients(i0, rows, seen, j > 0, dqSum);
      seen = true;
    }
    piece.end(seen);
  }

  /** Turns scores into probabilities and dP into dS. */
  private void scoreGradients(
      int head, AttentionPiece piece, float[] delta, int i0, int rows, int key, int n) {
    long step = 4L * piece.scoreStride;
    for (int r = 0; r < rows; r++) {
      long s = piece.scores() + r * step;
      long dp = piece.scoreGradients() + r * step;
      int i = i0 + r;
      int seen = p.seen(i, key, n);
      if (seen < n) {
        Memory.zero(s + seen * 4L, (n - seen) * 4L);
        Memory.zero(dp + seen * 4L, (n - seen) * 4L);
      }
      if (seen == 0) {
        continue;
      }
      if (p.mask() != null) {
        p.mask().apply(loops, s, head / p.heads(), head % p.heads(), i, key, seen);
      }
      float log = Memory.getFloat(lse + ((long) head * p.queries() + i) * 4);
      if (log == Float.NEGATIVE_INFINITY) {
        log = Float.POSITIVE_INFINITY;
      }
      loops.gradient(s, dp, seen, log, delta[i], p.scale());
    }
  }
}
