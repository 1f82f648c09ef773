// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import org.jspecify.annotations.Nullable;

/**
 * {@link AttentionPiece} of bfloat16 on a {@link HalfUnit}. P and dS are split in two parts; all
 * sums are f32. Gradients of keys and values are summed up transposed, {@code dvᵀ (+)= doutᵀ P},
 * for P and dS to be split as they lie.
 */
final class HalfAttentionPiece extends AttentionPiece {
  private static final int SIDE = MatrixUnit.SIDE;
  private static final int QUERY_BLOCK = 128;

  private final HalfRows half;
  private final int count;
  private final long queries;
  private final long queriesT;
  private final long gradients;
  private final long gradientsT;
  private final long keysT;
  private final long valuesT;
  private final long keys;
  private final long parts;
  private final long dkT;
  private final long dvT;

  /** Rearranges the operands for the keys {@code [first, first + count)} of a head. */
  HalfAttentionPiece(HalfUnit unit, Operands x, int head, int first, int count) {
    super(x, head, first, QUERY_BLOCK, Loops.tile().pitch());
    half = new HalfRows(unit, p.dim(), p.scale());
    this.count = count;
    long rowBytes = half.rowBytes(p.queries());
    long rowBytesT = half.blockBytes((p.queries() + QUERY_BLOCK - 1) / QUERY_BLOCK * QUERY_BLOCK);
    long columnBytes = half.rowBytes(count);
    long keyBytes = half.blockBytes(count);
    long sumBytes = 4L * half.width * scoreStride;
    long partBytes =
        Math.max(
            SplitOperands.count(QUERY_BLOCK) * HalfOperands.splitBytes(KEY_BLOCK),
            SplitOperands.count(KEY_BLOCK) * HalfOperands.splitBytes(QUERY_BLOCK));
    long bytes =
        scoreBytes() + 2 * (rowBytes + rowBytesT + columnBytes + sumBytes) + keyBytes + partBytes;
    long work = Scratch.get(Scratch.Slot.ATTENTION_BLOCK, bytes);
    place(work);
    parts = work + scoreBytes();
    dkT = parts + partBytes;
    dvT = dkT + sumBytes;
    keysT = dvT + sumBytes;
    valuesT = keysT + columnBytes;
    keys = valuesT + columnBytes;
    queries = keys + keyBytes;
    gradients = queries + rowBytes;
    queriesT = gradients + rowBytes;
    gradientsT = queriesT + rowBytesT;
    rearrange();
  }

  private void rearrange() {
    long k = p.row(x.k(), head, firstKey);
    long q = p.row(x.q(), head, 0);
    long dout = p.row(x.dout(), head, 0);
    half.keys(k, x.k(), count, keysT);
    half.rightTransposed(p.row(x.v(), head, firstKey), x.v(), count, valuesT);
    half.left(q, x.q(), p.queries(), queries);
    half.left(dout, x.dout(), p.queries(), gradients);
    if (x.dk() != null) {
      half.leftTransposed(q, x.q(), p.queries(), QUERY_BLOCK, queriesT);
    }
    if (x.dv() != null) {
      half.leftTransposed(dout, x.dout(), p.queries(), QUERY_BLOCK, gradientsT);
    }
    if (x.dq() != null) {
      half.right(k, x.k(), count, KEY_BLOCK, keys);
    }
  }

  @Override
  void products(int first, int rows) {
    long left = half.rowBytes(first);
    long right = half.rowBytes(j);
    half.scores(rows, n, queries + left, keysT + right, scores(), scoreStride);
    half.products(rows, n, gradients + left, valuesT + right, scoreGradients(), scoreStride);
  }

  @Override
  void gradients(int first, int rows, boolean addKeys, boolean addQueries, Sum dq) {
    long left = half.blockBytes(first);
    if (x.dv() != null) {
      keyGradient(rows, gradientsT + left, scores(), dvT, addKeys);
    }
    if (x.dk() != null) {
      keyGradient(rows, queriesT + left, scoreGradients(), dkT, addKeys);
    }
    if (x.dq() != null) {
      HalfOperands.splitSlabs(half.unit, rows, n, scoreGradients(), scoreStride, parts);
      long right = keys + half.blockBytes(j);
      long bytes = HalfOperands.bytes(Math.min(KEY_BLOCK, count - j));
      int whole = rows / SIDE * SIDE;
      if (whole > 0) {
        HalfProducts.multiplySplitSlabs(
            half.unit,
            whole,
            half.width,
            n,
            parts,
            right,
            bytes,
            dq.row(first),
            dq.stride(),
            addQueries);
      }
      if (whole < rows) { // nothing is written behind the last row
        long rest = Scratch.get(Scratch.Slot.SUMS, 4L * SIDE * half.width);
        long slab = parts + whole / SIDE * HalfOperands.splitBytes(n);
        HalfProducts.multiplySplitSlabs(
            half.unit, SIDE, half.width, n, slab, right, bytes, rest, half.width, false);
        long to = dq.row(first + whole);
        int width = half.width;
        Loops.tile().deliver(rows - whole, width, rest, width, 0, to, dq.stride(), addQueries);
      }
    }
  }

  private void keyGradient(int rows, long left, long scores, long to, boolean add) {
    HalfOperands.splitPanels(half.unit, rows, n, scores, scoreStride, parts);
    HalfProducts.multiplySplitPanels(
        half.unit, half.width, n, rows, left, parts, to, scoreStride, add);
  }

  @Override
  void end(boolean seen) {
    store(seen, dkT, x.dk());
    store(seen, dvT, x.dv());
  }

  private void store(boolean seen, long from, @Nullable Matrix to) {
    if (to == null) {
      return;
    }
    if (!seen) {
      for (int r = 0; r < n; r++) {
        Memory.zero(keyRow(to) + r * to.rowBytes(), (long) p.dim() * to.type().bytes());
      }
      return;
    }
    long dense = Scratch.get(Scratch.Slot.ROW, 4L * n * p.dim());
    Panels.transpose(Loops.tile(), n, p.dim(), 1f, from, 1, scoreStride, dense, p.dim());
    Loops.leaf()
        .casts()
        .narrowRows(to.type(), n, p.dim(), dense, 4L * p.dim(), keyRow(to), to.rowBytes());
  }
}
