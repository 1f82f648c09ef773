// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import org.jspecify.annotations.Nullable;

/**
 * {@link AttentionPiece} on a {@link MatrixUnit}. Gradients of keys and values are summed up
 * transposed, {@code dvᵀ (+)= doutᵀ P}, for P and dS to be split as they lie.
 *
 * <p>P and dS are split whatever they are: values below 2^-103 keep fewer digits, and where dS is
 * infinite, its gradients are NaN.
 */
final class SplitAttentionPiece extends AttentionPiece {
  private static final int SIDE = SplitOperands.SIDE;
  private static final int QUERY_BLOCK = 128;

  private final SplitRows split;
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
  private final boolean fit;

  /** Splits the operands for the keys {@code [first, first + count)} of a head. */
  SplitAttentionPiece(MatrixUnit unit, Operands x, int head, int first, int count) {
    this(new SplitRows(unit, x.p().dim()), x, head, first, count);
  }

  private SplitAttentionPiece(SplitRows split, Operands x, int head, int first, int count) {
    super(x, head, first, QUERY_BLOCK, split.tile.pitch());
    this.split = split;
    this.count = count;
    long rowBytes = split.rowBytes(p.queries());
    long rowBytesT = split.blockBytes(p.queries(), QUERY_BLOCK);
    long columnBytes = split.rowBytes(count);
    long sumBytes = 4L * split.width * scoreStride;
    long partBytes =
        Math.max(
            SplitOperands.count(QUERY_BLOCK) * SplitOperands.bytes(KEY_BLOCK),
            SplitOperands.count(KEY_BLOCK) * SplitOperands.bytes(QUERY_BLOCK));
    long bytes =
        scoreBytes()
            + 2 * (rowBytes + rowBytesT + columnBytes + sumBytes)
            + split.blockBytes(count, KEY_BLOCK)
            + partBytes;
    long work = Scratch.get(Scratch.Slot.ATTENTION_BLOCK, bytes);
    place(work);
    parts = work + scoreBytes();
    dkT = parts + partBytes;
    dvT = dkT + sumBytes;
    keysT = dvT + sumBytes;
    valuesT = keysT + columnBytes;
    keys = valuesT + columnBytes;
    queries = keys + split.blockBytes(count, KEY_BLOCK);
    gradients = queries + rowBytes;
    queriesT = gradients + rowBytes;
    gradientsT = queriesT + rowBytesT;
    fit = split();
  }

  private boolean split() {
    long k = p.row(x.k(), head, firstKey);
    long v = p.row(x.v(), head, firstKey);
    long q = p.row(x.q(), head, 0);
    long dout = p.row(x.dout(), head, 0);
    if (!(split.rightTransposed(k, x.k().rowStride(), count, p.scale(), keysT)
        && split.rightTransposed(v, x.v().rowStride(), count, 1f, valuesT)
        && split.left(q, x.q().rowStride(), p.queries(), p.dim(), queries)
        && split.left(dout, x.dout().rowStride(), p.queries(), p.dim(), gradients))) {
      return false;
    }
    if (x.dk() != null) {
      split.leftTransposed(q, x.q().rowStride(), p.queries(), QUERY_BLOCK, queriesT);
    }
    if (x.dv() != null) {
      split.leftTransposed(dout, x.dout().rowStride(), p.queries(), QUERY_BLOCK, gradientsT);
    }
    return x.dq() == null || split.right(k, x.k().rowStride(), count, KEY_BLOCK, keys);
  }

  /** Whether all operands could be split; nothing can be computed otherwise. */
  boolean isFit() {
    return fit;
  }

  @Override
  void products(int first, int rows) {
    long left = split.rowBytes(first);
    long right = split.rowBytes(j);
    scores(rows, queries + left, keysT + right, scores());
    scores(rows, gradients + left, valuesT + right, scoreGradients());
  }

  private void scores(int rows, long left, long right, long to) {
    int columns = SplitOperands.count(n) * SIDE;
    long bytes = SplitOperands.bytes(p.dim());
    split.multiply(rows, columns, p.dim(), left, right, bytes, to, scoreStride, false);
  }

  @Override
  void gradients(int first, int rows, boolean addKeys, boolean addQueries, Sum dq) {
    long left = split.blockBytes(first, QUERY_BLOCK);
    if (x.dv() != null) {
      keyGradient(rows, gradientsT + left, scores(), dvT, addKeys);
    }
    if (x.dk() != null) {
      keyGradient(rows, queriesT + left, scoreGradients(), dkT, addKeys);
    }
    if (x.dq() != null) {
      split.left(scoreGradients(), scoreStride, rows, n, parts);
      long right = keys + split.blockBytes(j, KEY_BLOCK);
      long bytes = SplitOperands.bytes(Math.min(KEY_BLOCK, count - j));
      long to = dq.row(first);
      split.multiply(rows, split.width, n, parts, right, bytes, to, dq.stride(), addQueries);
    }
  }

  private void keyGradient(int rows, long left, long scores, long to, boolean add) {
    SplitOperands.panels(split.unit, rows, n, Gemm.Matrix.rowMajor(scores, scoreStride), parts);
    int columns = SplitOperands.count(n) * SIDE;
    long bytes = SplitOperands.bytes(rows);
    split.multiply(split.width, columns, rows, left, parts, bytes, to, scoreStride, add);
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
    Sum rows = new Sum(keyRow(to), to.rowStride());
    if (seen) {
      Panels.transpose(
          split.tile, n, p.dim(), 1f, from, 1, scoreStride, rows.address(), rows.stride());
    } else {
      rows.clear(n, p.dim());
    }
  }
}
