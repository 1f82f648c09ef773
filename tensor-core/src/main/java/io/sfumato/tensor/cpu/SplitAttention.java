// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;

/**
 * {@link AttentionProducts} on a {@link MatrixUnit}. Probabilities are split whatever they are:
 * those below 2^-103 keep fewer digits, which no sum with 1, the largest one, would show; NaN stays
 * NaN.
 */
final class SplitAttention implements AttentionProducts {
  private static final int SIDE = SplitOperands.SIDE;
  private static final int QUERY_BLOCK = 128;

  private final AttentionProblem p;
  private final Matrix q;
  private final Matrix k;
  private final Matrix v;
  private final SplitRows split;
  private final int scoreStride;
  private final long queryBytes;
  private final long keyBytes;

  SplitAttention(MatrixUnit unit, AttentionProblem p, Matrix q, Matrix k, Matrix v) {
    this.p = p;
    this.q = q;
    this.k = k;
    this.v = v;
    split = new SplitRows(unit, p.dim());
    scoreStride = split.tile.pitch();
    queryBytes = split.rowBytes(QUERY_BLOCK);
    keyBytes = split.rowBytes(p.keys());
  }

  /** Whether they are faster than tiles, by cycles of a core. */
  static boolean pays(AttentionProblem p) {
    double pairs = (double) p.queries() * p.keys();
    int deep = SplitOperands.steps(p.dim()) * MatrixUnit.DEPTH;
    int wide = SplitOperands.count(p.dim()) * SIDE;
    double operands = (p.queries() + 2.0 * p.keys()) * p.dim();
    return p.dim() <= SplitOperands.K_BLOCK
        && pairs * (0.6 + (deep + wide) / 85.0) + operands < pairs * p.dim() / 13;
  }

  @Override
  public int queryBlock() {
    return QUERY_BLOCK;
  }

  @Override
  public int scoreStride() {
    return scoreStride;
  }

  @Override
  public int outputStride() {
    return split.width;
  }

  @Override
  public long headBytes() {
    return keyBytes + split.blockBytes(p.keys(), KEY_BLOCK);
  }

  @Override
  public boolean packHead(int head, int from, int to, long packed) {
    return split.rightTransposed(
            p.row(k, head, from),
            k.rowStride(),
            to - from,
            p.scale(),
            packed + split.rowBytes(from))
        & split.right(
            p.row(v, head, from),
            v.rowStride(),
            to - from,
            KEY_BLOCK,
            packed + keyBytes + split.blockBytes(from, KEY_BLOCK));
  }

  @Override
  public long blockBytes() {
    return queryBytes + SplitOperands.count(QUERY_BLOCK) * SplitOperands.bytes(KEY_BLOCK);
  }

  @Override
  public boolean packQueries(int head, int first, int rows, long work) {
    return split.left(p.row(q, head, first), q.rowStride(), rows, p.dim(), work);
  }

  @Override
  public void scores(int head, int first, int rows, int j, int n, long packed, long work, long s) {
    split.multiply(
        rows,
        SplitOperands.count(n) * SIDE,
        p.dim(),
        work,
        packed + split.rowBytes(j),
        SplitOperands.bytes(p.dim()),
        s,
        scoreStride,
        false);
  }

  @Override
  public void probabilities(
      int first, int rows, int j, int n, long s, float[] shift, double[] sums, long work) {
    Exponentials.compute(
        p,
        first,
        rows,
        j,
        n,
        s,
        scoreStride,
        shift,
        sums,
        split.unit::exponentials,
        SplitOperands.blocks(work + queryBytes),
        MatrixUnit.BLOCK_BYTES,
        SplitOperands.bytes(n));
  }

  @Override
  public void outputs(
      int head, int rows, int j, int n, long s, long packed, long work, long o, boolean add) {
    long probabilities = work + queryBytes;
    long values = packed + keyBytes + split.blockBytes(j, KEY_BLOCK);
    long panelBytes = SplitOperands.bytes(Math.min(KEY_BLOCK, p.keys() - j));
    split.multiply(rows, split.width, n, probabilities, values, panelBytes, o, split.width, add);
  }
}
