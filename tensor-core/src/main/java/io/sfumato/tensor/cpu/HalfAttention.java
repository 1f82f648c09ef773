// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;

/**
 * {@link AttentionProducts} of bfloat16 on a {@link HalfUnit}. Scores and outputs are f32;
 * probabilities are rounded to bfloat16 before they are multiplied, as in PyTorch, their sums are
 * not.
 */
final class HalfAttention implements AttentionProducts {
  private static final int QUERY_BLOCK = 128;

  private final AttentionProblem p;
  private final Matrix q;
  private final Matrix k;
  private final Matrix v;
  private final HalfRows half;
  private final int scoreStride = Loops.tile().pitch();
  private final long queryBytes;
  private final long keyBytes;

  HalfAttention(HalfUnit unit, AttentionProblem p, Matrix q, Matrix k, Matrix v) {
    this.p = p;
    this.q = q;
    this.k = k;
    this.v = v;
    half = new HalfRows(unit, p.dim(), p.scale());
    queryBytes = half.rowBytes(QUERY_BLOCK);
    keyBytes = half.rowBytes(p.keys());
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
    return half.width;
  }

  @Override
  public long headBytes() {
    return keyBytes + half.blockBytes(p.keys());
  }

  @Override
  public boolean packHead(int head, int from, int to, long packed) {
    int n = to - from;
    half.keys(p.row(k, head, from), k, n, packed + half.rowBytes(from));
    half.right(p.row(v, head, from), v, n, KEY_BLOCK, packed + keyBytes + half.blockBytes(from));
    return true;
  }

  @Override
  public long blockBytes() {
    return queryBytes + SplitOperands.count(QUERY_BLOCK) * HalfOperands.bytes(KEY_BLOCK);
  }

  @Override
  public boolean packQueries(int head, int first, int rows, long work) {
    half.left(p.row(q, head, first), q, rows, work);
    return true;
  }

  @Override
  public void scores(int head, int first, int rows, int j, int n, long packed, long work, long s) {
    half.scores(rows, n, work, packed + half.rowBytes(j), s, scoreStride);
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
        half.unit::halfExponentials,
        work + queryBytes,
        MatrixUnit.TILE_BYTES,
        HalfOperands.bytes(n));
  }

  @Override
  public void outputs(
      int head, int rows, int j, int n, long s, long packed, long work, long o, boolean add) {
    long values = packed + keyBytes + half.blockBytes(j);
    HalfProducts.multiply(
        half.unit,
        rows,
        half.width,
        n,
        work + queryBytes,
        values,
        HalfOperands.bytes(Math.min(KEY_BLOCK, p.keys() - j)),
        o,
        half.width,
        add);
  }
}
