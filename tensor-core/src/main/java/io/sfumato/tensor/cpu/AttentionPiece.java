// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import org.jspecify.annotations.Nullable;

/**
 * All queries of a head against some of its keys in {@link AttentionBackward}: the matrix products,
 * and how their operands lie. Blocks of keys come one after the other, in each the blocks of
 * queries that see it.
 */
abstract class AttentionPiece {
  /** Keys per block of scores. */
  static final int KEY_BLOCK = AttentionProducts.KEY_BLOCK;

  final Operands x;
  final AttentionProblem p;

  /** Batch times heads plus the head, and its first key that this piece is about. */
  final int head;

  final int firstKey;

  /** Queries per block of scores. */
  final int queryBlock;

  /** Floats from one row of scores to the next. */
  final int scoreStride;

  /** The present block of keys: its first one among those of this piece, and their number. */
  int j;

  int n;

  private long scores;

  AttentionPiece(Operands x, int head, int firstKey, int queryBlock, int scoreStride) {
    this.x = x;
    p = x.p();
    this.head = head;
    this.firstKey = firstKey;
    this.queryBlock = queryBlock;
    this.scoreStride = scoreStride;
  }

  /** Bytes of two blocks of scores. */
  final long scoreBytes() {
    return 8L * queryBlock * scoreStride;
  }

  /** Says where {@link #scoreBytes} are. */
  final void place(long at) {
    scores = at;
  }

  /** Address of the scores of a block, then of its probabilities P. */
  final long scores() {
    return scores;
  }

  /** Address of {@code dP}, then of {@code dS}. */
  final long scoreGradients() {
    return scores + scoreBytes() / 2;
  }

  /** Address of the first row of the present block in a matrix of keys' rows. */
  final long keyRow(Matrix m) {
    return p.row(m, head, firstKey + j);
  }

  /**
   * Begins a block of keys.
   *
   * @param j its first key among those of this piece, a multiple of {@link #KEY_BLOCK}
   * @param n its keys, at most {@link #KEY_BLOCK}
   */
  void begin(int j, int n) {
    this.j = j;
    this.n = n;
  }

  /** {@code S = scale q kᵀ} and {@code dP = dout vᵀ} for a block of queries. */
  abstract void products(int first, int rows);

  /** {@code dv (+)= Pᵀ dout}, {@code dk (+)= dSᵀ q} and {@code dq (+)= dS k}. */
  abstract void gradients(int first, int rows, boolean addKeys, boolean addQueries, Sum dq);

  /**
   * Ends a block of keys and writes their gradients.
   *
   * @param seen whether a query saw it; the gradients are zero otherwise
   */
  abstract void end(boolean seen);

  /**
   * Where rows of a gradient are summed up.
   *
   * @param address address of the first row
   * @param stride floats from one row to the next
   */
  record Sum(long address, long stride) {
    long row(long i) {
      return address + i * stride * 4;
    }

    /** Zero in the first rows. */
    void clear(int rows, int width) {
      for (int r = 0; r < rows; r++) {
        Memory.zero(row(r), width * 4L);
      }
    }
  }

  /**
   * What the pieces are made of.
   *
   * @param p sizes and options
   * @param q queries
   * @param k keys
   * @param v values
   * @param dout gradient of the result
   * @param dq gradient of the queries, or null
   * @param dk gradient of the keys, or null
   * @param dv gradient of the values, or null
   */
  record Operands(
      AttentionProblem p,
      Matrix q,
      Matrix k,
      Matrix v,
      Matrix dout,
      @Nullable Matrix dq,
      @Nullable Matrix dk,
      @Nullable Matrix dv) {}
}
